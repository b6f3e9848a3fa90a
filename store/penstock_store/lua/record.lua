--[[
Include: a job's record, and what every change of it shares.

The record is a hash of short values: v, tenant, lane, task, state, run, attempt, calls, created_at, due_at,
idem_ms, keep_ms, keep_dead_ms; where they apply started_at, ended_at, deadline_at, deadline_ms, idem (a key),
priority (if not the default), target, user, hold (what budgets hold for it: the include "budget"), place (its turn in the line of a target), excused:<run> (calls that cost nothing, being probes
or turned away unread), cancel, called (what
it is about to wait for is there),
cost_nanousd, uncertain_nanousd, replayed_by (an action's id); and at the end result or failure, as JSON. All times
are ms.
]]
-- include: keys

local function now_ms()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The keys of one job.
local function keys_of(job_id)
  return {record = KEY.record .. job_id, request = KEY.request .. job_id, journal = KEY.journal .. job_id,
    events = KEY.events .. job_id, parts = KEY.parts .. job_id}
end

-- The queue of a job; priority as in its record: false for the default.
local function queue_of(lane, tenant, priority)
  local queue = KEY.queue .. lane .. ":" .. tenant
  return priority and queue .. KEY.level .. priority or queue
end

-- Append an event to the job's stream and ring those who listen to it: the message is the event's type.
local function tell(job_id, run, kind, now, data)
  local stream = KEY.events .. job_id
  redis.call("XADD", stream, "MAXLEN", "~", 10000, "*", "type", kind, "run", run, "at", now, "data", data)
  redis.call("PUBLISH", stream, kind)
end

-- Tell a change of state, which goes into the stream of all jobs too, and count it: out of from and into to.
-- from is false for a new job; a run that ended stays counted.
local function tell_state(job_id, tenant, task, run, from, to, now, data)
  if from then redis.call("HINCRBY", KEY.COUNTS, from, -1) end
  redis.call("HINCRBY", KEY.COUNTS, to, 1)
  redis.call("XADD", KEY.EVENTS, "MAXLEN", "~", 100000, "*",
    "job", job_id, "tenant", tenant, "task", task, "type", to, "run", run, "at", now)
  tell(job_id, run, to, now, data)
end

-- Free what budgets still hold for a job: hold is the record's field of that name.
local function release_hold(record, hold)
  for key, left in pairs(cjson.decode(hold)) do
    if redis.call("EXISTS", key) == 1 then
      if left[1] ~= "0" then redis.call("HINCRBY", key, "held", "-" .. left[1]) end
      if left[2] ~= "0" then redis.call("HINCRBY", key, "tokens_held", "-" .. left[2]) end
    end
  end
  redis.call("HDEL", record, "hold")
end

-- End a run: state, time, counts, index, event, and how long what is left of it is kept.
local function record_end(job_id, state, now, data)
  local at = keys_of(job_id)
  local row = redis.call("HMGET", at.record, "tenant", "task", "run", "state", "idem", "idem_ms",
    state == "dead" and "keep_dead_ms" or "keep_ms", "hold")
  local tenant, task, run, from, idem, idem_ms, keep_ms, hold = unpack(row)
  if hold then release_hold(at.record, hold) end
  redis.call("HSET", at.record, "state", state, "ended_at", now)
  redis.call("HINCRBY", KEY.COUNTS, "open", -1)
  if state == "dead" or state == "degraded" then redis.call("ZADD", KEY.state_index .. state, now, job_id) end
  tell_state(job_id, tenant, task, run, from, state, now, data)
  for _, key in pairs(at) do redis.call("PEXPIRE", key, keep_ms) end
  if idem then redis.call("PEXPIRE", idem, idem_ms) end
end
