#!lua flags=allow-oom
-- include: record
-- include: lease
--[[
Write down that a provider is about to be called. Without it no call is made.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token
ARGV[3] call id, "<run>.<attempt>.<number>"
ARGV[4] intent, JSON
ARGV[5] the most calls the run may make

Returns 1 written, or written before under this id (a repeat changes nothing)
        0 the lease is lost; nothing written
        2 the run has made as many calls as it may; nothing written
        3 a cancel was asked for; nothing written
]]
local record, job_id, token, call_id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if not lease_held(KEY.arq_in_progress .. job_id, token) then return 0 end
local journal = KEY.journal .. job_id
if redis.call("HEXISTS", journal, call_id) == 1 then return 1 end
local run, calls, cancel = unpack(redis.call("HMGET", record, "run", "calls", "cancel"))
if cancel then return 3 end
if tonumber(calls) >= tonumber(ARGV[5]) then return 2 end
redis.call("HSET", journal, call_id, ARGV[4])
redis.call("HINCRBY", record, "calls", 1)
tell(job_id, run, "progress", now_ms(), ARGV[4])
return 1
