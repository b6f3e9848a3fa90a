-- include: record
-- include: queue
-- include: audit
--[[
Run dead or degraded jobs again, each as a new numbered run. What the old run came to is kept in the journal, and
who asked for it is kept in the audit stream.

KEYS[1...] records
ARGV[1] tenant; "" for jobs of any      ARGV[2] target to use instead of the route's, "" for the route's
ARGV[3] who    ARGV[4] the action's id      ARGV[5] the newest record version that is known
ARGV[6...] for each record: job id, the run that is to be replayed

Returns for each record
  {1, run}         queued as this run, now or before by this very action (a repeat changes nothing)
  {0, state, run}  not replayed: it is in another state, or in a newer run
  {-1}             no such job of this tenant
  {-2}             its record cannot be read, or what it was asked to do is gone
  {-3}             its record is of a newer version
]]
local tenant_of_all, target, who, action, version = unpack(ARGV, 1, 5)
local now = now_ms()

-- Keep the idempotency key while the job is open, if it still names this job.
local function hold_key(at, idem, job_id)
  if not idem then return end
  local named = redis.call("GET", idem)
  if named and string.match(named, "^(%S+)") == job_id then
    redis.call("PERSIST", idem)
  else
    redis.call("HDEL", at.record, "idem")
  end
end

local function replay(job_id, asked_run)
  local at = keys_of(job_id)
  local v, tenant, lane, task, state, run, idem, deadline_ms, result, failure, by, priority = unpack(
    redis.call("HMGET", at.record, "v", "tenant", "lane", "task", "state", "run", "idem", "deadline_ms", "result",
      "failure", "replayed_by", "priority"))
  if not tenant or (tenant_of_all ~= "" and tenant ~= tenant_of_all) then return {-1} end
  if (tonumber(v) or 0) > tonumber(version) then return {-3} end
  if by == action then return {1, tonumber(run)} end
  if run ~= asked_run or (state ~= "dead" and state ~= "degraded") then
    return {0, state or "", tonumber(run) or 0}
  end
  if not (lane and task) or redis.call("EXISTS", at.request) == 0 then return {-2} end

  for _, key in pairs(at) do redis.call("PERSIST", key) end
  redis.call("DEL", at.parts) -- a new run starts from nothing
  hold_key(at, idem, job_id)
  if result or failure then redis.call("HSET", at.journal, "run:" .. run, result or failure) end
  redis.call("HDEL", at.record, "result", "failure", "started_at", "ended_at", "cancel", "target", "place")
  redis.call("ZREM", KEY.ARQ_ABORT, job_id)
  run = tonumber(run) + 1
  redis.call("HSET", at.record, "state", "queued", "run", run, "attempt", 0, "calls", 0, "due_at", now,
    "replayed_by", action)
  if target ~= "" then redis.call("HSET", at.record, "target", target) end
  if deadline_ms then redis.call("HSET", at.record, "deadline_at", now + deadline_ms) end
  redis.call("ZREM", KEY.state_index .. state, job_id)
  redis.call("HINCRBY", KEY.COUNTS, "open", 1)
  queue_put(queue_of(lane, tenant, priority), KEY.ring .. lane, KEY.wait .. lane, tenant, job_id, now, now)
  tell_state(job_id, tenant, task, run, false, "queued", now, "{}")
  return {1, run}, job_id
end

local replies, done = for_each_job(6, replay)
audit("replay", who, action, "jobs", done, now, "target", target)
return replies
