-- include: record
-- include: audit
-- include: ledger
--[[
Settle calls whose charge was in doubt by what a provider's bill says of them, each once: an entry of the ledger that
amends the call's first, and the same amounts in its budgets, its job's record and journal, as far as these are kept.

ARGV[1] who    ARGV[2] the action's id    ARGV[3] the bill's name and digest
ARGV[4...] for each call
  its id, "<job>:<call>"
  what is known of it where it is not in doubt, but the bill says otherwise, JSON as of a doubt; "" for one in doubt
  yes or no: whether it was billed    its cost, nano-USD    the digest of the price row that gives this, or ""
  the provider's id of it, or ""
  its tokens: input, cache read, cache write, output, reasoning; "" unknown

Returns for each call 1 settled; 0 it is in doubt no more, or was corrected before (a repeat changes nothing)
]]
local who, action, bill = unpack(ARGV, 1, 3)
local PER_CALL, CORRECTED_MS = 11, DOUBT_KEPT_MS
local KEPT_FIELDS = {"tenant", "user", "task", "target", "prompt", "purpose", "held_nanousd", "sent_at_ms", "prices",
  "model", "service_tier", "first_content_ms", "took_ms", "budgets"}

local function known_of(id, told)
  local doubt = doubt_of(id)
  if doubt or told == "" then return doubt end
  if not redis.call("SET", KEY.corrected .. id, action, "NX", "PX", CORRECTED_MS) then return nil end
  return cjson.decode(told)
end

local function numbers_of(text)
  local numbers = {}
  for number in string.gmatch(text, "%S+") do numbers[#numbers + 1] = tonumber(number) end
  return numbers
end

-- Put the amounts into the record and the journal of the job.
local function rewrite(job_id, call_id, was, cost, billed)
  local record, journal = KEY.record .. job_id, KEY.journal .. job_id
  if redis.call("EXISTS", record) == 1 then
    redis.call("HINCRBY", record, "cost_nanousd", string.format("%.0f", cost - was[2]))
    redis.call("HINCRBY", record, "uncertain_nanousd", string.format("%.0f", 0 - was[3]))
  end
  local over = redis.call("HGET", journal, call_id .. ":end")
  if not over then return end
  over = string.gsub(over, '"cost_nanousd":[^,}]+', string.format('"cost_nanousd":%.0f', cost), 1)
  over = string.gsub(over, '"uncertain_nanousd":[^,}]+', '"uncertain_nanousd":0', 1)
  over = string.gsub(over, '"billed":"unknown"', '"billed":"' .. billed .. '"', 1)
  redis.call("HSET", journal, call_id .. ":end", over)
  redis.call("HDEL", journal, call_id .. ":held", call_id .. ":hold")
end

local function settle(at)
  local id, told, billed, cost, price, request_id = unpack(ARGV, at, at + 5)
  local known = known_of(id, told)
  if not known then return 0 end
  local job_id, call_id = string.match(id, "^(.+):([^:]+)$")
  local fields = known.fields
  local flat = {"job", job_id, "call", call_id, "kind", "reconciled", "cost_nanousd", cost, "uncertain_nanousd", 0,
    "orphan", fields.orphan or 0, "estimated", 0, "billed", billed, "bill", bill}
  local function tell(name, value)
    if value and value ~= "" then flat[#flat + 1], flat[#flat + 2] = name, value end
  end
  for _, name in ipairs(KEPT_FIELDS) do tell(name, fields[name]) end
  tell("price", price)
  tell("request_id", request_id ~= "" and request_id or fields.request_id)
  local tokens = 0
  for i, bucket in ipairs(TALLY_BUCKETS) do
    local count = ARGV[at + 5 + i]
    tell(bucket, count)
    tokens = tokens + (tonumber(count) or 0)
  end
  ledger_rebudget(known, tonumber(cost), 0, tokens, 0)
  rewrite(job_id, call_id, numbers_of(known.was), tonumber(cost), billed)
  ledger_add(id, flat, known, false)
  return 1, id
end

local replies, done = {}, {}
for at = 4, #ARGV, PER_CALL do replies[#replies + 1], done[#done + 1] = settle(at) end
audit("reconcile", who, action, "calls", done, now_ms(), "bill", bill)
return replies
