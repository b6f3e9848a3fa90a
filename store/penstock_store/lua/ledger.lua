--[[
Include: the ledger, and the calls whose charge is in doubt.

An entry of the ledger is never changed. When more is told of a call later, another entry amends the first: its field
"amends" has the first one's id (0 in an entry that amends nothing), and "was" has what counted of the call until then.

What counts of an entry is its tally, numbers with a blank between them, in the order of TALLY.

A doubt is a string, expiring, JSON: what counts of a call (was), its first entry (first), the tokens that its budgets
count, and the fields of its last entry. There is one for each call that was perhaps billed, or billed for an amount
that is an estimate, until a late worker or a provider's bill tells; a set lists them by the time of the first entry.
]]
-- include: keys

local DOUBT_KEPT_MS = 400 * 86400000
local MOST_ESTIMATES = 100000 -- a provider that never tells its usage makes no more doubts than this

local TALLY_BUCKETS = {"input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"}

-- What counts of an entry, given by its fields: calls, cost, uncertain, uncertain_calls, unpriced_calls,
-- estimated_calls, orphan_calls, then tokens by bucket.
local function tally_of(fields)
  local uncertain = tonumber(fields.uncertain_nanousd) or 0
  local priced = (fields.cost_nanousd or "") ~= ""
  local tally = {1, priced and tonumber(fields.cost_nanousd) or 0, uncertain, uncertain > 0 and 1 or 0,
    priced and 0 or 1, fields.estimated == "1" and 1 or 0, tostring(fields.orphan) == "1" and 1 or 0}
  for _, bucket in ipairs(TALLY_BUCKETS) do tally[#tally + 1] = tonumber(fields[bucket]) or 0 end
  return tally
end

local function tally_text(tally)
  local parts = {}
  for i, number in ipairs(tally) do parts[i] = string.format("%.0f", number) end
  return table.concat(parts, " ")
end

local function doubt_of(id)
  local text = redis.call("GET", KEY.doubt .. id)
  return text and cjson.decode(text) or nil
end

local function doubt_end(id)
  redis.call("DEL", KEY.doubt .. id)
  redis.call("ZREM", KEY.DOUBTS, id)
end

-- Whether a call whose amount is an estimate is still noted as a doubt.
local function doubt_estimates()
  return redis.call("ZCARD", KEY.DOUBTS) < MOST_ESTIMATES
end

-- Append an entry about a call ("<job>:<call>"): flat names and values. doubt: the call's doubt until now, or nil.
-- unsure: whether its charge is in doubt from now on; then tokens and tokens_uncertain are what budgets count for it.
local function ledger_add(id, flat, doubt, unsure, tokens, tokens_uncertain)
  flat[#flat + 1], flat[#flat + 2] = "amends", doubt and doubt.first or "0"
  if doubt then flat[#flat + 1], flat[#flat + 2] = "was", doubt.was end
  local entry = redis.call("XADD", KEY.LEDGER, "*", unpack(flat))
  if not unsure then
    if doubt then doubt_end(id) end
    return
  end
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = tostring(flat[i + 1]) end
  local first = doubt and doubt.first or entry
  local noted = cjson.encode({first = first, was = tally_text(tally_of(fields)), tokens = tostring(tokens),
    tokens_uncertain = tostring(tokens_uncertain), fields = fields})
  redis.call("SET", KEY.doubt .. id, noted, "PX", DOUBT_KEPT_MS)
  redis.call("ZADD", KEY.DOUBTS, string.match(first, "^%d+"), id)
end

-- Let the budgets that a doubt names count other amounts for its call: nano-USD and tokens. Those past their retention
-- are left alone.
local function ledger_rebudget(doubt, cost, uncertain, tokens, tokens_uncertain)
  local was = {}
  for number in string.gmatch(doubt.was, "%S+") do was[#was + 1] = tonumber(number) end
  local changes = {spent = cost - was[2], uncertain = uncertain - was[3], tokens_spent = tokens - doubt.tokens,
    tokens_uncertain = tokens_uncertain - doubt.tokens_uncertain,
    overrun = math.max(0, cost + uncertain - was[2] - was[3])}
  for name in string.gmatch(doubt.fields.budgets or "", "%S+") do
    if redis.call("EXISTS", KEY.budget .. name) == 1 then
      for field, change in pairs(changes) do
        if change ~= 0 then redis.call("HINCRBY", KEY.budget .. name, field, string.format("%.0f", change)) end
      end
    end
  end
end

-- The budgets that a call's hold names, "<scope>:<window>" with a blank between them; "" for none.
local function ledger_budgets(journal, call_id)
  local noted = redis.call("HGET", journal, call_id .. ":hold")
  if not noted then return "" end
  local names = {}
  for name in string.gmatch((string.gsub(noted, "\\/", "/")), '"' .. KEY.budget .. '([^"]+)"') do
    names[#names + 1] = name
  end
  return table.concat(names, " ")
end
