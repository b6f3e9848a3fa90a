#!lua flags=no-writes
-- include: keys
--[[
What budgets have, how far the ledger is summed up, and what is in it behind an entry, all at one instant.

ARGV[1] the last entry of the ledger that was read    ARGV[2] the most entries behind it
ARGV[3...] budgets, "<scope>:<window>"

Returns {the cursor of the sums; the entries behind it; for each budget its names and values}
]]
local budgets = {}
for i = 3, #ARGV do
  local row = redis.pcall("HGETALL", KEY.budget .. ARGV[i])
  budgets[#budgets + 1] = row.err and {} or row
end
local cursor = redis.call("HGET", KEY.ROLLED, "cursor") or "0-0"
return {cursor, redis.call("XRANGE", KEY.LEDGER, "(" .. ARGV[1], "+", "COUNT", ARGV[2]), budgets}
