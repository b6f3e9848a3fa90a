-- include: record
--[[
Cancel a job wherever it is. A waiting one ends here; a running one is ended by the worker that holds it.

KEYS[1] record
ARGV[1] job id    ARGV[2] tenant

Returns the state found: queued or scheduled (it is cancelled now), running (its worker has been told; a
        repeat tells it again), or a terminal state (nothing changed)
        "" no such job of this tenant
]]
local record, job_id = KEYS[1], ARGV[1]
local tenant, lane, state = unpack(redis.call("HMGET", record, "tenant", "lane", "state"))
if tenant ~= ARGV[2] then return "" end
local now = now_ms()
if state == "running" then
  redis.call("HSET", record, "cancel", 1)
  redis.call("ZADD", KEY.ARQ_ABORT, now, job_id)
elseif state == "queued" or state == "scheduled" then
  redis.call("ZREM", queue_of(lane, tenant), job_id)
  record_end(job_id, "cancelled", now, "{}")
end
return state
