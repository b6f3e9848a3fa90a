#!lua flags=allow-oom
-- include: record
-- include: queue
-- include: lease
--[[
Give a job back to its queue, to be started again later or at once.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token
ARGV[3] delay, ms; 0 for at once
ARGV[4] 1 if the attempt is charged, 0 if it is not (a hand back, a throttle)
ARGV[5] what the attempt came to, JSON, for the journal; "" for nothing
ARGV[6] why, a code

Returns 1 given back
        0 the lease is lost: nothing written. After a lost reply, a repeat comes here.
]]
local record, job_id, token, delay_ms = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
if not lease_held(KEY.arq_in_progress .. job_id, token) then return 0 end
local tenant, lane, task, run, attempt = unpack(redis.call("HMGET", record, "tenant", "lane", "task", "run", "attempt"))
local now = now_ms()
local due = now + delay_ms
local state = delay_ms > 0 and "scheduled" or "queued"
if ARGV[5] ~= "" then redis.call("HSET", KEY.journal .. job_id, "attempt:" .. run .. "." .. attempt, ARGV[5]) end
if ARGV[4] == "0" then redis.call("HINCRBY", record, "attempt", -1) end
redis.call("HSET", record, "state", state, "due_at", due)
lease_move(queue_of(lane, tenant), KEY.ring .. lane, KEY.wait .. lane, tenant, job_id, due, now)
tell_state(job_id, tenant, task, run, "running", state, now,
  cjson.encode({due_at_ms = due, reason = ARGV[6]}))
return 1
