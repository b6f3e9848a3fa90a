--[[
Include: what prompts, routes and tenants usually spend, and the cost breaker that stops one of them.

A trail is a hash for one prompt, route or tenant: window, spent (nano-USD) and calls in it; past, the same of the
windows before it in which it was used, as JSON, newest last; usual, the median of what these spent, and usual_call, the
median of what a call cost in them, where there are enough. A prompt or a route that spends, or costs by the call, so many
times its usual is stopped until the window turns: "open:<scope>" in the hash of limits says until when. WATCH is pasted
ahead.
]]
-- include: keys

local SURE_CALLS = 20 -- below so many calls a window's mean cost says little

local function median(numbers)
  table.sort(numbers)
  local half = math.floor(#numbers / 2)
  if #numbers % 2 == 1 then return numbers[half + 1] end
  return (numbers[half] + numbers[half + 1]) / 2
end

-- The trail's past with the window that is over, and what is usual by it; -1 where that is not known yet.
local function trail_past(text, spent, calls)
  local past = text and cjson.decode(text) or {}
  if calls > 0 then past[#past + 1] = {spent, calls} end
  while #past > WATCH.history do table.remove(past, 1) end
  if #past < WATCH.min_history then return past, -1, -1 end
  local totals, means = {}, {}
  for i, one in ipairs(past) do totals[i], means[i] = one[1], one[1] / one[2] end
  return past, median(totals), median(means)
end

-- Add a call that cost so much, in the window that ends then. Returns nil, or, when its scope spends more than it usually does, the window, its end and
-- data for an alert.
local function trail_add(scope, cost, window, ends)
  local key = KEY.trail .. scope
  local row = redis.call("HMGET", key, "window", "spent", "calls", "usual", "usual_call")
  local spent, calls = tonumber(row[2] or 0), tonumber(row[3] or 0)
  local usual, usual_call = tonumber(row[4] or -1), tonumber(row[5] or -1)
  if row[1] ~= window then
    local past
    past, usual, usual_call = trail_past(redis.call("HGET", key, "past"), spent, calls)
    spent, calls = 0, 0
    redis.call("HSET", key, "window", window, "past", cjson.encode(past), "usual", whole(usual),
      "usual_call", whole(usual_call))
    redis.call("PEXPIRE", key, (WATCH.history + 1) * (WATCH.window == "hour" and HOUR_MS or DAY_MS))
  end
  spent, calls = spent + cost, calls + 1
  redis.call("HSET", key, "spent", spent, "calls", calls)
  if usual < 0 or spent < WATCH.min_nanousd then return end
  if spent < WATCH.factor * usual and (calls < SURE_CALLS or spent < WATCH.factor * usual_call * calls) then return end
  return window, ends, {spent = whole(spent), calls = whole(calls), usual = whole(usual), usual_call = whole(usual_call)}
end

-- Note what a call cost (nano-USD), what it may have cost included; tell who spends too much, and stop prompts and routes.
local function trails_add(tenant, prompt, route, cost, now_ms)
  if cost <= 0 then return end
  local now_window, ends_ms = budget_window(WATCH.window, now_ms)
  for _, scope in ipairs({tenant and "tenant:" .. tenant, prompt and "prompt:" .. prompt, route and "route:" .. route}) do
    local window, ends, data = trail_add(scope, cost, now_window, ends_ms)
    if window then
      local stops = WATCH.stop and string.sub(scope, 1, 7) ~= "tenant:"
      if stops then redis.call("HSET", KEY.BUDGETS, "open:" .. scope, ends) end
      alert(stops and "cost_breaker_open" or "spend_above_usual", scope, window, now_ms, data)
    end
  end
end
