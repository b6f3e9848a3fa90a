#!lua flags=allow-oom
-- include: record
-- include: audit
--[[
Pause lanes, tenants and tasks, or let them go on, and note who did it. What runs goes on running.

ARGV[1] pause or resume
ARGV[2] who    ARGV[3] the action's id
ARGV[4...] "lane:<lane>", "tenant:<tenant>" or "task:<task>"

Returns for each 1 when it was changed by this call, 0 when it was so already (a repeat comes here).
]]
local what, who, action = unpack(ARGV, 1, 3)
local verb = what == "pause" and "SADD" or "SREM"
local replies, done = {}, {}
for i = 4, #ARGV do
  local changed = redis.call(verb, KEY.PAUSED, ARGV[i])
  replies[#replies + 1] = changed
  if changed == 1 then done[#done + 1] = ARGV[i] end
end
audit(what, who, action, "names", done, now_ms())
return replies
