--[[
Include: a tenant's queue and its place in its lane's ring.

Of every tenant with a non-empty queue holds: it is in the ring, or it is in the wait set with a time not
later than its earliest entry.
]]

-- Put a job into its tenant's queue, to run from due_ms on. ring's newcomers start at the lane's virtual time,
-- the least of those present, so that a tenant that was away is owed nothing and owes nothing.
local function queue_put(queue, ring, wait, tenant, job_id, due_ms, now_ms)
  redis.call("ZADD", queue, due_ms, job_id)
  if redis.call("ZSCORE", ring, tenant) then return end
  if due_ms > now_ms then
    redis.call("ZADD", wait, "LT", due_ms, tenant)
    return
  end
  local head = redis.call("ZRANGE", ring, 0, 0, "WITHSCORES")
  redis.call("ZADD", ring, head[2] or 0, tenant)
  redis.call("ZREM", wait, tenant)
end
