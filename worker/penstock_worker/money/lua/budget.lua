--[[
Include: budgets, and what calls hold of them.

A budget is a hash for one scope in one window of time: spent, held, uncertain, overrun (nano-USD), tokens_spent,
tokens_held, tokens_uncertain, calls. At every moment spent + uncertain + held <= limit, but for what is counted in
overrun: what calls cost beyond the worst case that was held for them.

Scopes are given as an array of {scope, window, limit or -1 (nano-USD), limit or -1 (tokens)}; the window is hour, day
or month, in UTC by Redis' clock. A hold names the very hashes it was made in, so that it is settled into the window in
which it was made.
]]
-- include: keys

local BUDGET_KEPT_MS = 400 * 86400000
local HOUR_MS, DAY_MS = 3600000, 86400000

-- Days since 1970-01-01 as a date, and back (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
local function date_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local of_era = z - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
    - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local shifted = math.floor((5 * of_year + 2) / 153)
  local month = shifted < 10 and shifted + 3 or shifted - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, of_year - math.floor((153 * shifted + 2) / 5) + 1
end

local function day_of(year, month)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * (month > 2 and month - 3 or month + 9) + 2) / 5)
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

-- The window that now_ms is in: its name, which is its start, and its end (ms).
local function budget_window(kind, now_ms)
  local day = math.floor(now_ms / DAY_MS)
  local year, month, of_month = date_of(day)
  if kind == "month" then
    local ends = month == 12 and day_of(year + 1, 1) or day_of(year, month + 1)
    return string.format("month:%04d-%02d", year, month), ends * DAY_MS
  end
  local date = string.format("%04d-%02d-%02d", year, month, of_month)
  if kind == "day" then return "day:" .. date, (day + 1) * DAY_MS end
  local hour = math.floor(now_ms % DAY_MS / HOUR_MS)
  return string.format("hour:%sT%02d", date, hour), (math.floor(now_ms / HOUR_MS) + 1) * HOUR_MS
end

local function whole(number) return string.format("%.0f", number) end

local function add(key, field, amount)
  if amount ~= 0 then redis.call("HINCRBY", key, field, whole(amount)) end
end

local function room(limit, taken, need)
  return limit < 0 or taken + need <= limit
end

local function numbers(key, ...)
  local values = redis.call("HMGET", key, ...)
  for i = 1, #values do values[i] = tonumber(values[i] or 0) end
  return values
end

-- Whether a call of at most so much fits into every scope. Returns the keys of the budgets; or nil, the scope that has
-- no room, and when its window ends (ms). amount is 0 where the price is unknown.
local function budget_fits(scopes, amount, tokens, now_ms)
  local found = {}
  for i, one in ipairs(scopes) do
    local scope, kind, limit, limit_tokens = one[1], one[2], one[3], one[4]
    local window, ends_ms = budget_window(kind, now_ms)
    local key = KEY.budget .. scope .. ":" .. window
    local money = numbers(key, "spent", "held", "uncertain")
    local counted = numbers(key, "tokens_spent", "tokens_held", "tokens_uncertain")
    if not room(limit, money[1] + money[2] + money[3], amount)
      or not room(limit_tokens, counted[1] + counted[2] + counted[3], tokens) then
      return nil, scope, ends_ms
    end
    found[i] = key
  end
  return found
end

-- Hold that much of each of these budgets for a call, and note it in the journal beside the call.
local function budget_hold(journal, call_id, found, amount, tokens)
  for _, key in ipairs(found) do
    add(key, "held", amount)
    add(key, "tokens_held", tokens)
    redis.call("HINCRBY", key, "calls", 1)
    redis.call("PEXPIRE", key, BUDGET_KEPT_MS)
  end
  redis.call("HSET", journal, call_id .. ":hold",
    cjson.encode({keys = found, held = whole(amount), tokens = whole(tokens), uncertain = "0", tokens_uncertain = "0"}))
end

-- Settle what is held for a call: what it cost is spent, what is unknown stays uncertain. A second settlement takes
-- back what the first left uncertain, and nothing else of it.
local function budget_settle(journal, call_id, cost, uncertain, tokens, tokens_uncertain)
  local noted = redis.call("HGET", journal, call_id .. ":hold")
  if not noted then return end
  local hold = cjson.decode(noted)
  local held, held_tokens = tonumber(hold.held), tonumber(hold.tokens)
  for _, key in ipairs(hold.keys) do
    add(key, "held", -held)
    add(key, "tokens_held", -held_tokens)
    add(key, "spent", cost)
    add(key, "tokens_spent", tokens)
    add(key, "uncertain", uncertain - tonumber(hold.uncertain))
    add(key, "tokens_uncertain", tokens_uncertain - tonumber(hold.tokens_uncertain))
    local most = hold.settled and tonumber(hold.uncertain) or held
    add(key, "overrun", math.max(0, cost + uncertain - most))
  end
  redis.call("HSET", journal, call_id .. ":hold", cjson.encode({keys = hold.keys, held = "0", tokens = "0",
    uncertain = whole(uncertain), tokens_uncertain = whole(tokens_uncertain), settled = true}))
end
