#!lua flags=allow-oom
-- include: record
-- include: lease
--[[
End a job's run: state, result or failure, event, and the lease, all in one.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token
ARGV[3] succeeded, degraded, dead, cancelled or expired
ARGV[4] the field to write, result or failure; "" for none    ARGV[5] its JSON
ARGV[6] what the attempt came to, JSON, for the journal       ARGV[7] data of the event, JSON

Returns 1 ended
        0 the lease is lost: nothing written. After a lost reply of the call that ended it, a repeat comes here.
       -1 there is no record any more: only the lease is ended
]]
local record, job_id, token, state = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if not lease_held(KEY.arq_in_progress .. job_id, token) then return 0 end
local lane, tenant, run, attempt = unpack(redis.call("HMGET", record, "lane", "tenant", "run", "attempt"))
if not tenant then return -1 end
if ARGV[4] ~= "" then redis.call("HSET", record, ARGV[4], ARGV[5]) end
redis.call("HSET", KEY.journal .. job_id, "attempt:" .. run .. "." .. attempt, ARGV[6])
record_end(job_id, state, now_ms(), ARGV[7])
lease_release(queue_of(lane, tenant), job_id)
return 1
