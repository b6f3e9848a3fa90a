--[[
Include: a tenant's queue and its place in its lane's ring.

Jobs of each priority other than the default have a queue of their own beside the tenant's, its level; everything that
is given a queue may be given a level. KEY.PRIORITIES names the levels that are not empty.

Of every tenant with a non-empty queue holds: it is in the ring, or it is in the wait set with a time not later
than its earliest entry (or, while it is paused or at its cap, within a second from now). The ring's scores are
virtual time: a claimed job adds 1 / weight to its tenant's, and the tenant with the least is next.
]]
-- include: keys

-- Put a tenant into the ring, out of the wait set. It joins one turn behind the least of those present: whoever
-- was away is owed nothing, and coming and going cannot push aside a tenant that has been waiting. That it came is
-- noted for KNOWN_MS, and wakes workers who have slots that they keep for such as it.
local KNOWN_MS = 600000
local function ring_join(ring, wait, tenant, now_ms)
  redis.call("ZREM", wait, tenant)
  local head = redis.call("ZRANGE", ring, 0, 0, "WITHSCORES")
  redis.call("ZADD", ring, "NX", head[2] and head[2] + 1 or 0, tenant)
  redis.call("ZADD", ring .. KEY.arrivals, now_ms, tenant)
  redis.call("ZREMRANGEBYSCORE", ring .. KEY.arrivals, "-inf", now_ms - KNOWN_MS)
  redis.call("PEXPIRE", ring .. KEY.arrivals, KNOWN_MS)
end

-- Lane and tenant of a tenant's queue or of a level, and the level's priority, a digit, "" for the queue itself; nil for
-- an arq queue, which has none of them.
local function queue_parts(queue)
  return string.match(queue, "^" .. KEY.queue .. "([^:]+):([^:]+):?p?(%d?)$")
end

local function level_note(queue)
  local lane, tenant, priority = queue_parts(queue)
  local name = lane .. ":" .. tenant
  local known = redis.call("HGET", KEY.PRIORITIES, name) or ""
  if not string.find(known, priority, 1, true) then redis.call("HSET", KEY.PRIORITIES, name, known .. priority) end
end

-- Put a job into its tenant's queue, to run from due_ms on.
local function queue_put(queue, ring, wait, tenant, job_id, due_ms, now_ms)
  redis.call("ZADD", queue, due_ms, job_id)
  if string.sub(queue, -3, -2) == KEY.level then level_note(queue) end
  if redis.call("ZSCORE", ring, tenant) then return end
  if due_ms > now_ms then
    redis.call("ZADD", wait, "LT", due_ms, tenant)
  else
    ring_join(ring, wait, tenant, now_ms)
  end
end

-- Note that job_id of queue runs, under a lease that ends at end_ms: it counts against its tenant's cap until then.
local function queue_runs(queue, job_id, end_ms)
  local lane, tenant = queue_parts(queue)
  if lane then redis.call("ZADD", KEY.queue .. lane .. ":" .. tenant .. KEY.running, end_ms, job_id) end
end

-- Note that job_id of queue no longer runs. A tenant that waits, perhaps for room under its cap, is looked at next.
local function queue_freed(queue, job_id)
  local lane, tenant = queue_parts(queue)
  if not lane then return end
  redis.call("ZREM", KEY.queue .. lane .. ":" .. tenant .. KEY.running, job_id)
  redis.call("ZADD", KEY.wait .. lane, "XX", "LT", 0, tenant)
end
