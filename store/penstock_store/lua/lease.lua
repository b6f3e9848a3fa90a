--[[
Include: the lease on a job, and how it ends.

A lease is the key arq:in-progress:<id>, holding the random token of the worker that may end the job. It lives
LEASE_GRACE_MS longer than the lease itself: a holder whose lease ran out, but whose job nobody took, may still
renew or end it. So the token alone decides who may write, and the remaining life tells whether the lease runs.
The score of the job in its queue is the lease's end, so that a lost worker's job comes due by itself.
]]
-- include: keys
-- include: queue

local LEASE_GRACE_MS = 60000

-- Whether token holds the lease. If not, the second value is the token of who does, or false when nobody does.
local function lease_held(in_progress, token)
  local holder = redis.call("GET", in_progress)
  return holder == token, holder
end

-- How many holders of the job vanished in a row; nil for one that has simply run so far, whose tries nobody counted.
-- A hash of another type reads as empty, and takes nothing in: no job depends on it.
local function deaths_of(job_id)
  local deaths = redis.pcall("HGET", KEY.DEATHS, job_id)
  return type(deaths) == "string" and tonumber(deaths) or nil
end

local function deaths_note(job_id, deaths)
  redis.pcall("HSET", KEY.DEATHS, job_id, deaths)
end

-- Forget all that was counted of the job.
local function deaths_forget(job_id)
  if redis.pcall("HDEL", KEY.DEATHS, job_id) == 1 then redis.call("DEL", KEY.arq_retry .. job_id) end
end

-- End the lease and take the job out of its queue for good. A tenant at its cap has room again.
local function lease_release(queue, job_id)
  redis.call("ZREM", queue, job_id)
  redis.call("DEL", KEY.arq_in_progress .. job_id)
  deaths_forget(job_id)
  queue_freed(queue, job_id)
end

-- End the lease and put the job back into its tenant's queue, to run from due_ms on. Charges nothing.
local function lease_move(queue, ring, wait, tenant, job_id, due_ms, now_ms)
  redis.call("DEL", KEY.arq_in_progress .. job_id)
  deaths_forget(job_id)
  queue_freed(queue, job_id)
  queue_put(queue, ring, wait, tenant, job_id, due_ms, now_ms)
end
