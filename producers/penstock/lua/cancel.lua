-- include: record
--[[
Cancel a job wherever it is. A waiting one ends here; a running one is ended by the worker that holds it.

KEYS[1] record
ARGV[1] job id    ARGV[2] tenant    ARGV[3] the newest version of a record that the caller knows

Returns the state found: queued or scheduled (it is cancelled now), running (its worker has been told; a
        repeat tells it again), or a terminal state (nothing changed)
        "" no such job of this tenant
        1 the record is of a newer version; nothing changed
        0 what is there is not a whole record; nothing changed
]]
local record, job_id = KEYS[1], ARGV[1]
local version, tenant, lane, state, task, run, keep_ms, idem_ms, priority = unpack(redis.call("HMGET", record,
  "v", "tenant", "lane", "state", "task", "run", "keep_ms", "idem_ms", "priority"))
if tenant and tenant ~= ARGV[2] or redis.call("EXISTS", record) == 0 then return "" end
if (tonumber(version) or 0) > tonumber(ARGV[3]) then return 1 end
if not (tenant and lane and state and task and tonumber(version) and tonumber(run) and tonumber(keep_ms)
  and tonumber(idem_ms)) then return 0 end
local now = now_ms()
if state == "running" then
  redis.call("HSET", record, "cancel", 1)
  redis.call("ZADD", KEY.ARQ_ABORT, now, job_id)
elseif state == "queued" or state == "scheduled" then
  redis.call("ZREM", queue_of(lane, tenant, priority), job_id)
  record_end(job_id, "cancelled", now, "{}")
end
return state
