-- include: record
--[[
Include of the claim: what a claimed Penstock job is. Moves its record to running and gives the attempt to the
worker. TASKS, the tasks this worker knows, and RECORD_VERSION are pasted ahead of it.

Returns an array of strings, its first naming the case:
  {"run", request, journal (names and values), run, attempt, calls, created_at, deadline_at or "", target or "",
   cost_nanousd, now}
  {"cancel", run, attempt}   a cancel was asked for while it ran; the record is running again
  {"expire", run, attempt}   its deadline passed before its first attempt
  {"over"}                   its run has ended: only the queue entry is left
  {"gone"}                   there is no record: only the queue entry is left
  {"corrupt", what}          the record is not readable
or false: not for this worker, leave it to another (a newer version, an unknown or paused task).
]]
local function start(job_id, token, now, deaths)
  local at = keys_of(job_id)
  local row = redis.pcall("HMGET", at.record, "v", "tenant", "task", "state", "run", "attempt", "calls",
    "created_at", "deadline_at", "target", "cancel", "cost_nanousd")
  if row.err then return {"corrupt", "record is not a hash"} end
  local version, tenant, task, state, run, attempt, calls, created, deadline, target, cancel, cost = unpack(row, 1, 12)
  if not (version or tenant or state) then return {"gone"} end
  if not tonumber(version) then return {"corrupt", "version"} end
  if tonumber(version) > RECORD_VERSION then return false end
  if not (tenant and task and tonumber(run) and tonumber(calls) and tonumber(created)) then
    return {"corrupt", "a field is missing"}
  end
  if not tonumber(attempt) or tonumber(attempt) < 0 then return {"corrupt", "attempt"} end
  if state ~= "queued" and state ~= "scheduled" and state ~= "running" then
    if state == "succeeded" or state == "degraded" or state == "dead" or state == "cancelled" or state == "expired" then
      return {"over"}
    end
    return {"corrupt", "state"}
  end
  if not TASKS[task] or redis.call("SISMEMBER", KEY.PAUSED, "task:" .. task) == 1 then return false end
  local request = redis.pcall("GET", at.request)
  if not request or request.err then return {"corrupt", "request"} end
  local journal = redis.pcall("HGETALL", at.journal)
  if journal.err then return {"corrupt", "journal is not a hash"} end

  -- A holder that vanished is no failure of the job: its attempt goes on under the same number.
  if deaths == 0 or state ~= "running" then attempt = attempt + 1 end
  redis.call("HSET", at.record, "state", "running", "attempt", attempt, "started_at", now)
  tell_state(job_id, tenant, task, run, state, "running", now, '{"attempt":' .. attempt .. "}")
  if cancel then return {"cancel", run, tostring(attempt)} end
  if deadline and tonumber(deadline) <= now and attempt == 1 then return {"expire", run, tostring(attempt)} end
  return {"run", request, journal, run, tostring(attempt), calls, created, deadline or "", target or "",
    cost or "0", tostring(now)}
end
