#!lua flags=no-writes
-- include: record
--[[
What is on the books of jobs, all at one instant: in their records, in their journals, and in the ledger behind an entry.

ARGV[1] the last entry of the ledger that was read    ARGV[2] the most entries behind it
ARGV[3...] job ids

Returns {now, ms; the entries behind it; for each job
  {state, "" without a record, "corrupt" for one put in the place of what could not be read; created_at, ms; cost and uncertain of its record, nano-USD; the same of its journal;
   1 if its lease is held; what it holds of budgets, JSON, ""; its calls without an end, each {call, intent, hold}}}
A record or journal of another type counts as none.
]]
local function sum_of(fields)
  local cost, uncertain, open = 0, 0, {}
  for name, value in pairs(fields) do
    local call = string.match(name, "^(%d+%.%d+%.%d+)$")
    if call then
      local over = fields[call .. ":end"]
      if over then
        cost = cost + (tonumber(string.match(over, '"cost_nanousd":(%-?%d+)')) or 0)
        uncertain = uncertain + (tonumber(string.match(over, '"uncertain_nanousd":(%-?%d+)')) or 0)
      else
        open[#open + 1] = {call, value, fields[call .. ":hold"] or ""}
      end
    end
  end
  return string.format("%.0f", cost), string.format("%.0f", uncertain), open
end

local jobs = {}
for i = 3, #ARGV do
  local at, fields = keys_of(ARGV[i]), {}
  local row = redis.pcall("HMGET", at.record, "state", "created_at", "cost_nanousd", "uncertain_nanousd", "hold",
    "failure")
  if row.err then row = {} end
  if row[6] and string.find(row[6], '"corrupt_record"', 1, true) then row[1] = "corrupt" end
  local flat = redis.pcall("HGETALL", at.journal)
  if not flat.err then
    for j = 1, #flat, 2 do fields[flat[j]] = flat[j + 1] end
  end
  local cost, uncertain, open = sum_of(fields)
  local leased = redis.call("EXISTS", KEY.arq_in_progress .. ARGV[i])
  jobs[#jobs + 1] = {row[1] or "", row[2] or "0", row[3] or "0", row[4] or "0", cost, uncertain, leased, row[5] or "", open}
end
local entries = redis.call("XRANGE", KEY.LEDGER, "(" .. ARGV[1], "+", "COUNT", ARGV[2])
return {now_ms(), entries, jobs}
