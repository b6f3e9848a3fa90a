-- include: record
-- include: budget
--[[
The windows of this moment. Writes nothing.

Returns {now, hour, its end, day, its end, month, its end}; moments in ms
]]
local now = now_ms()
local found = {now}
for _, kind in ipairs(BUDGET_WINDOWS) do
  local name, ends = budget_window(kind, now)
  found[#found + 1], found[#found + 2] = name, ends
end
return found
