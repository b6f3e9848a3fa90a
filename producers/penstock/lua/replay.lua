-- include: record
-- include: queue
--[[
Run a dead or degraded job again, as a new numbered run. What the old run came to is kept in the journal.

KEYS[1] record
ARGV[1] job id    ARGV[2] tenant    ARGV[3] the run that is to be replayed
ARGV[4] target to use instead of the route's, "" for the route's

Returns {1, run}         queued as this run
        {0, state, run}  not replayed: it is in another state, or in a newer run (a repeat comes here)
        {-1}             no such job of this tenant
]]
local job_id, target = ARGV[1], ARGV[4]
local at = keys_of(job_id)
local tenant, lane, task, state, run, idem, deadline_ms, result, failure = unpack(redis.call("HMGET", at.record,
  "tenant", "lane", "task", "state", "run", "idem", "deadline_ms", "result", "failure"))
if tenant ~= ARGV[2] then return {-1} end
if run ~= ARGV[3] or (state ~= "dead" and state ~= "degraded") then return {0, state, tonumber(run)} end

local now = now_ms()
for _, key in pairs(at) do redis.call("PERSIST", key) end
if idem then redis.call("PERSIST", idem) end
redis.call("HSET", at.journal, "run:" .. run, result or failure)
redis.call("HDEL", at.record, "result", "failure", "started_at", "ended_at", "cancel", "target")
run = tonumber(run) + 1
redis.call("HSET", at.record, "state", "queued", "run", run, "attempt", 0, "calls", 0, "due_at", now)
if target ~= "" then redis.call("HSET", at.record, "target", target) end
if deadline_ms then redis.call("HSET", at.record, "deadline_at", now + deadline_ms) end
redis.call("ZREM", KEY.state_index .. state, job_id)
redis.call("HINCRBY", KEY.COUNTS, "open", 1)
queue_put(queue_of(lane, tenant), KEY.ring .. lane, KEY.wait .. lane, tenant, job_id, now, now)
tell_state(job_id, tenant, task, run, false, "queued", now, "{}")
return {1, run}
