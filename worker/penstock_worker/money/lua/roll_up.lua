#!lua flags=allow-oom
-- include: budget
-- include: ledger
--[[
Add the entries of the ledger that are not added yet to the sums by hour and by day, and to what each budget's own sum
is compared with. The hash of the cursor, the sums and the entries change together, or none.

A sum is a field of its hour's and its day's hash: JSON of {tenant, task, target, prompt, user} -> a tally. An entry that
amends another counts where the first one does.

ARGV[1] the most entries to add
ARGV[2] how long sums by hour are kept, from the first entry on, ms    ARGV[3] the same by day

Returns how many were added (0: all are; a repeat adds nothing twice)
]]
local entries = redis.call("XRANGE", KEY.LEDGER, "(" .. (redis.call("HGET", KEY.ROLLED, "cursor") or "0-0"), "+",
  "COUNT", ARGV[1])
if #entries == 0 then return 0 end
local kept_ms = {hour = tonumber(ARGV[2]), day = tonumber(ARGV[3])}
local sums, spent, uncertain = {}, {}, {}

local function fields_of(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function add_to(sum, tally)
  for i, number in ipairs(tally) do sum[i] = (sum[i] or 0) + number end
  return sum
end

local function less_what_was(tally, was)
  local i = 0
  for number in string.gmatch(was or "", "%d+") do
    i = i + 1
    if tally[i] then tally[i] = tally[i] - tonumber(number) end
  end
  return tally
end

for _, entry in ipairs(entries) do
  local fields = fields_of(entry[2])
  local tally = less_what_was(tally_of(fields), fields.was)
  local first = fields.amends and fields.amends ~= "0" and fields.amends or entry[1]
  local at = tonumber(string.match(first, "^%d+") or string.match(entry[1], "^%d+"))
  local whose = cjson.encode({fields.tenant or "", fields.task or "", fields.target or "", fields.prompt or "",
    fields.user or ""})
  for kind in pairs(kept_ms) do
    local name = budget_window(kind, at)
    local window = sums[name] or {}
    window[whose] = add_to(window[whose] or {}, tally)
    sums[name] = window
  end
  for name in string.gmatch(fields.budgets or "", "%S+") do
    spent[name] = (spent[name] or 0) + tally[2]
    uncertain[name] = (uncertain[name] or 0) + tally[3]
  end
end

local now = redis.call("TIME")[1] * 1000
for name, window in pairs(sums) do
  local key = KEY.rolled .. name
  for whose, delta in pairs(window) do
    local sum = {}
    for number in string.gmatch(redis.call("HGET", key, whose) or "", "%S+") do sum[#sum + 1] = tonumber(number) end
    redis.call("HSET", key, whose, tally_text(add_to(sum, delta)))
  end
  if redis.call("PTTL", key) < 0 then redis.call("PEXPIRE", key, kept_ms[string.match(name, "^%a+")]) end
end
for name, amount in pairs(spent) do
  local key = KEY.budget .. name
  if redis.call("EXISTS", key) == 1 then
    redis.call("HINCRBY", key, "rolled_spent", string.format("%.0f", amount))
    if uncertain[name] ~= 0 then
      redis.call("HINCRBY", key, "rolled_uncertain", string.format("%.0f", uncertain[name]))
    end
  end
end
redis.call("HSETNX", KEY.ROLLED, "first", string.match(entries[1][1], "^%d+"))
redis.call("HSET", KEY.ROLLED, "cursor", entries[#entries][1])
redis.call("ZREMRANGEBYSCORE", KEY.DOUBTS, "-inf", now - DOUBT_KEPT_MS)
return #entries
