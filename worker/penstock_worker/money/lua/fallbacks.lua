--[[
Include: how often a task's fallback had to answer. WATCH and the include "budget" are pasted ahead.
]]
-- include: keys

-- Count how a job of task ended, and tell when too many of this hour's have an answer that no model gave.
local function fallbacks_count(task, state, now_ms)
  if state ~= "succeeded" and state ~= "degraded" then return end
  local window = budget_window("hour", now_ms)
  local key = KEY.ended .. window
  local count = redis.call("HINCRBY", key, task .. ":" .. state, 1)
  if count == 1 then redis.call("PEXPIRE", key, 2 * HOUR_MS) end
  if state ~= "degraded" then return end
  local all = count + (redis.call("HGET", key, task .. ":succeeded") or 0)
  if all < WATCH.fallback_min_jobs or count <= WATCH.fallback_ratio * all then return end
  alert("fallback_rate", "task:" .. task, window, now_ms, {degraded = whole(count), jobs = whole(all)})
end
