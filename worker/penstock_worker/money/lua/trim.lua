#!lua flags=allow-oom
-- include: ledger
--[[
Take the oldest entries out of the ledger, of those that are in the sums by hour and day. What they came to is added to
what was taken out before, so that the sums can still be checked.

ARGV[1] how old an entry may get, ms; 0 for ever     ARGV[2] the most entries to keep; 0 for all
ARGV[3] the most entries to take out

Returns how many were taken out (0: nothing to do; a repeat takes out nothing else)
]]
local cursor = redis.call("HGET", KEY.ROLLED, "cursor")
if not cursor then return 0 end
local keep_ms, keep, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = redis.call("TIME")[1] * 1000
local spare = keep > 0 and redis.call("XLEN", KEY.LEDGER) - keep or 0
local oldest = keep_ms > 0 and now - keep_ms or 0
local first = redis.call("XRANGE", KEY.LEDGER, "-", cursor, "COUNT", 1)[1]
if not first or (spare <= 0 and tonumber(string.match(first[1], "^%d+")) >= oldest) then return 0 end

local sum, last, count = {}, nil, 0
for number in string.gmatch(redis.call("HGET", KEY.ROLLED, "trimmed") or "", "%S+") do sum[#sum + 1] = tonumber(number) end
for _, entry in ipairs(redis.call("XRANGE", KEY.LEDGER, "-", cursor, "COUNT", most)) do
  if count >= spare and tonumber(string.match(entry[1], "^%d+")) >= oldest then break end
  local fields, was = {}, {}
  for j = 1, #entry[2], 2 do fields[entry[2][j]] = entry[2][j + 1] end
  for number in string.gmatch(fields.was or "", "%d+") do was[#was + 1] = tonumber(number) end
  for k, number in ipairs(tally_of(fields)) do sum[k] = (sum[k] or 0) + number - (was[k] or 0) end
  count, last = count + 1, entry[1]
end
if count == 0 then return 0 end
local ms, sequence = string.match(last, "^(%d+)-(%d+)$")
redis.call("XTRIM", KEY.LEDGER, "MINID", ms .. "-" .. string.format("%.0f", sequence + 1))
redis.call("HSET", KEY.ROLLED, "trimmed", tally_text(sum), "trimmed_until", last)
return count
