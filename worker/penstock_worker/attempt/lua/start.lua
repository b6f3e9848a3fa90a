-- include: record
--[[
Include of the claim: what a claimed Penstock job is. Moves its record to running and gives the attempt to the
worker. TASKS, a set of the tasks this worker knows, and RECORD_VERSION are pasted ahead of it.

Returns an array, its first element naming the case:
  {"run", request, journal (names and values), run, attempt, calls, created_at, deadline_at or "", target or "",
   cost_nanousd, now, idempotency key or ""}
  {"cancel", run, attempt}   a cancel was asked for while it ran
  {"expire", run, attempt}   its deadline passed before it was first started
false: not for this worker, leave it to another (a newer version, an unknown or paused task);
nil: the queue entry has no record, or its run has ended: the entry is dropped, and counted as dropped.
Raises an error that says what is wrong with the record when it cannot be read; nothing is written then.
]]
local OVER = {succeeded = true, degraded = true, dead = true, cancelled = true, expired = true}
local WAITS = {queued = true, scheduled = true, running = true}

local function whole(value, least, what)
  local number = tonumber(value)
  if not number or number < least or number % 1 ~= 0 then error(what .. " is not a number it can be", 0) end
  return number
end

local function start(job_id, token, now, deaths)
  local at = keys_of(job_id)
  local version, tenant, lane, task, state, run, attempt, calls, created, deadline, target, cancel, cost, idem = unpack(
    redis.call("HMGET", at.record, "v", "tenant", "lane", "task", "state", "run", "attempt", "calls", "created_at",
      "deadline_at", "target", "cancel", "cost_nanousd", "idem"))
  if not (version or tenant or state) or OVER[state] then
    redis.call("HINCRBY", KEY.COUNTS, "dropped", 1)
    return nil
  end
  if whole(version, 1, "version") > RECORD_VERSION then return false end
  if not WAITS[state] then error("state is not one that it knows", 0) end
  if not (tenant and lane and task) then error("tenant, lane or task is missing", 0) end
  whole(run, 1, "run")
  whole(calls, 0, "calls")
  whole(created, 0, "created_at")
  if deadline then deadline = whole(deadline, 0, "deadline_at") end
  attempt = whole(attempt, 0, "attempt")
  if not TASKS[task] or redis.call("SISMEMBER", KEY.PAUSED, "task:" .. task) == 1 then return false end
  local request = redis.call("GET", at.request)
  if not request then error("its request is missing", 0) end
  local journal = redis.call("HGETALL", at.journal)

  -- A holder that vanished, however long ago, is no failure of the job: its attempt goes on under the same number.
  local fresh = state ~= "running" and attempt == 0 and tonumber(calls) == 0
  if state ~= "running" then attempt = attempt + 1 end
  redis.call("HSET", at.record, "state", "running", "attempt", attempt, "started_at", now)
  tell_state(job_id, tenant, task, run, state, "running", now, '{"attempt":' .. attempt .. "}")
  if cancel then return {"cancel", run, tostring(attempt)} end
  if deadline and deadline <= now and fresh then return {"expire", run, tostring(attempt)} end
  return {"run", request, journal, run, tostring(attempt), calls, created, deadline and string.format("%.0f", deadline) or "", target or "",
    cost or "0", tostring(now), idem or ""}
end
