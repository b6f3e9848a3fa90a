--[[
Include: budgets, and what jobs and calls hold of them.

The limits are one hash for all: scope -> JSON {when, hour, day, month}, where when is wait, degrade or refuse, and each
window that is limited has {nano-USD, tokens}, -1 for no limit of that kind. Beside them "file" is there once a worker
has told those of its configuration; "open:<scope>" is when the cost breaker of a prompt or a route lets calls through
again (ms); "bound:<task>" is what one call of the task may take: {nano-USD, nano-USD for a MB of request, tokens}.

A scope is global, tenant:<tenant>, user:<tenant>/<user>, task:<task> or prompt:<prompt>. tenant:*, user:<tenant>/* and
user:* hold for each that has none of its own, with an amount of its own.

What is taken is a hash for one scope in one window: spent, held, uncertain, overrun (nano-USD), tokens_spent,
tokens_held, tokens_uncertain, calls. At every moment spent + uncertain + held <= limit, but for what is counted in
overrun (what calls cost beyond the worst case that was held for them), and for a limit that was lowered since.

A window is an hour, a day or a month, in UTC by Redis' clock. A hold names the very hashes it was made in, so that it is
settled into the window in which it was made. What a job holds from its enqueue on is in its record, field "hold": key
-> {nano-USD, tokens} that its calls have not drawn yet.
]]
-- include: keys
-- include: alert

local BUDGET_KEPT_MS = {hour = 3 * 86400000, day = 62 * 86400000, month = 800 * 86400000}
local BUDGET_WINDOWS = {"hour", "day", "month"}
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

-- For JSON, which cjson writes with 14 digits; a command is given a whole number as it is.
local function whole(number) return string.format("%.0f", number) end

-- The limits that hold for whom ({tenant, user, task, prompt}; all but tenant and task may be missing), one row for each
-- scope and window: {scope, when, window, ends, key, limit, tokens}. only keeps those of one policy; nil keeps all.
-- Behind them the values of the fields that more names.
local function budget_rows(whom, now_ms, only, more)
  local of_tenant = "user:" .. whom.tenant .. "/"
  local fields = {"global", "task:" .. whom.task, "prompt:" .. (whom.prompt or ""), "tenant:" .. whom.tenant,
    "tenant:*", of_tenant .. (whom.user or ""), of_tenant .. "*", "user:*"}
  for i, name in ipairs(more or {}) do fields[8 + i] = name end
  local found = redis.call("HMGET", KEY.BUDGETS, unpack(fields))
  local rows, windows = {}, {}
  local function take(scope, text)
    if not text then return end
    local limits = cjson.decode(text)
    if only and limits.when ~= only then return end
    for _, kind in ipairs(BUDGET_WINDOWS) do
      local limit = limits[kind]
      if limit then
        windows[kind] = windows[kind] or {budget_window(kind, now_ms)}
        local name, ends = unpack(windows[kind])
        rows[#rows + 1] = {scope = scope, when = limits.when, window = name, ends = ends, kind = kind,
          key = KEY.budget .. scope .. ":" .. name, limit = limit[1], tokens = limit[2]}
      end
    end
  end
  for i = 1, 3 do take(fields[i], found[i]) end
  take(fields[4], found[4] or found[5])
  if whom.user then take(fields[6], found[6] or found[7] or found[8]) end
  return rows, unpack(found, 9, #fields)
end

local function budget_read(row)
  local values = redis.call("HMGET", row.key, "spent", "held", "uncertain", "tokens_spent", "tokens_held",
    "tokens_uncertain", "calls")
  for i = 1, #values do values[i] = tonumber(values[i] or 0) end
  row.there = values
end

-- The first of these rows that has no room for so much; nil when all have. drawn: key -> {nano-USD, tokens} that the job
-- holds already; what of it is drawn is noted in the row. Tells that a budget is spent, once in its window.
local function budget_full(rows, amount, tokens, drawn, now_ms)
  for _, row in ipairs(rows) do
    budget_read(row)
    local there, own = row.there, drawn and drawn[row.key]
    row.draw = own and math.min(tonumber(own[1]), amount) or 0
    row.draw_tokens = own and math.min(tonumber(own[2]), tokens) or 0
    local money = there[1] + there[2] + there[3] + amount - row.draw
    local counted = there[4] + there[5] + there[6] + tokens - row.draw_tokens
    if (row.limit >= 0 and amount > row.draw and money > row.limit)
      or (row.limit >= 0 and amount == 0 and money > row.limit)
      or (row.tokens >= 0 and tokens > row.draw_tokens and counted > row.tokens) then
      alert("budget_spent", row.scope, row.window, now_ms, {when = row.when, limit = whole(row.limit),
        tokens_limit = whole(row.tokens), spent = whole(there[1]), held = whole(there[2]), uncertain = whole(there[3])})
      return row
    end
  end
end

local function budget_take(row, amount, tokens, calls)
  local there = row.there
  redis.call("HSET", row.key, "held", there[2] + amount, "tokens_held", there[5] + tokens, "calls", there[7] + calls)
  if there[7] == 0 then redis.call("PEXPIRE", row.key, BUDGET_KEPT_MS[row.kind]) end
end

-- Hold that much of each of these rows for a job that is accepted; the record's field that says so.
local function budget_hold_job(rows, amount, tokens)
  local hold = {}
  for _, row in ipairs(rows) do
    budget_take(row, amount, tokens, 0)
    hold[row.key] = {whole(amount), whole(tokens)}
  end
  return cjson.encode(hold)
end

-- Hold that much of each of these rows for a call, out of what its job holds as far as that goes, and note it in the
-- journal beside the call. own: what the job holds, decoded; nil for nothing.
local function budget_hold(journal, record, call_id, rows, own, amount, tokens)
  local keys = {}
  for i, row in ipairs(rows) do
    budget_take(row, amount - row.draw, tokens - row.draw_tokens, 1)
    keys[i] = {row.key, whole(row.limit), whole(row.tokens)}
    local left = own and own[row.key]
    if left then
      keys[i][4], keys[i][5] = whole(row.draw), whole(row.draw_tokens)
      own[row.key] = {whole(left[1] - row.draw), whole(left[2] - row.draw_tokens)}
    end
  end
  if own then redis.call("HSET", record, "hold", cjson.encode(own)) end
  redis.call("HSET", journal, call_id .. ":hold", cjson.encode({keys = keys, held = whole(amount),
    tokens = whole(tokens), uncertain = "0", tokens_uncertain = "0"}))
end

-- Tell that four fifths of a limit are gone, or all of it.
local function budget_tell(key, limit, taken, now_ms)
  if limit <= 0 or taken * 5 < limit * 4 then return end
  local scope, window = string.match(key, "^" .. KEY.budget .. "(.+):(%a+:[%dT-]+)$")
  alert(taken >= limit and "budget_spent" or "budget_80_percent", scope, window, now_ms, {limit = whole(limit),
    taken = whole(taken)})
end

local function settle_one(one, hold, own, cost, uncertain, tokens, tokens_uncertain, now_ms)
  local key, first = one[1], not hold.settled
  local there = redis.call("HMGET", key, "held", "spent", "uncertain", "tokens_held", "tokens_spent", "tokens_uncertain")
  if not there[1] then return end -- past its retention
  for i = 1, 6 do there[i] = tonumber(there[i] or 0) end
  local back, back_tokens = 0, 0
  if first and own and own[key] and one[4] then
    back = math.max(0, math.min(tonumber(one[4]), hold.held - cost - uncertain))
    back_tokens = math.max(0, math.min(tonumber(one[5]), hold.tokens - tokens - tokens_uncertain))
    own[key] = {whole(own[key][1] + back), whole(own[key][2] + back_tokens)}
  end
  local spent, counted = there[2] + cost, there[5] + tokens
  redis.call("HSET", key, "held", there[1] - hold.held + back, "spent", spent,
    "tokens_held", there[4] - hold.tokens + back_tokens, "tokens_spent", counted)
  local unknown, unknown_tokens = there[3] + uncertain - hold.uncertain, there[6] + tokens_uncertain
    - hold.tokens_uncertain
  if unknown ~= there[3] or unknown_tokens ~= there[6] then
    redis.call("HSET", key, "uncertain", unknown, "tokens_uncertain", unknown_tokens)
  end
  local over = cost + uncertain - (first and hold.held or hold.uncertain)
  if over > 0 then redis.call("HINCRBY", key, "overrun", over) end
  budget_tell(key, tonumber(one[2]), spent + unknown, now_ms)
  budget_tell(key, tonumber(one[3]), counted + unknown_tokens, now_ms)
end

-- Settle what is held for a call: what it cost is spent, what is unknown stays uncertain, and what it did not need goes
-- back to its job, or is free. A second settlement takes back what the first left uncertain, and nothing else of it.
local function budget_settle(journal, record, call_id, cost, uncertain, tokens, tokens_uncertain, now_ms)
  local noted = redis.call("HGET", journal, call_id .. ":hold")
  if not noted then return end
  local hold = cjson.decode(noted)
  for _, name in ipairs({"held", "tokens", "uncertain", "tokens_uncertain"}) do hold[name] = tonumber(hold[name]) end
  local held_by_job = not hold.settled and redis.call("HGET", record, "hold")
  local own = held_by_job and cjson.decode(held_by_job)
  for _, one in ipairs(hold.keys) do settle_one(one, hold, own, cost, uncertain, tokens, tokens_uncertain, now_ms) end
  if own then redis.call("HSET", record, "hold", cjson.encode(own)) end
  if uncertain == 0 and tokens_uncertain == 0 then
    redis.call("HDEL", journal, call_id .. ":hold")
  else
    redis.call("HSET", journal, call_id .. ":hold", cjson.encode({keys = hold.keys, held = "0", tokens = "0",
      uncertain = whole(uncertain), tokens_uncertain = whole(tokens_uncertain), settled = true}))
  end
end
