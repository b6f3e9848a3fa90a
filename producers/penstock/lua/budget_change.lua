#!lua flags=allow-oom
-- include: record
-- include: audit
--[[
Change the limits of a budget by hand, and note who did it. They hold from the next enqueue and the next call on.

ARGV[1] who    ARGV[2] the action's id    ARGV[3] scope
ARGV[4] its limits as they were read, JSON; "" for none
ARGV[5] the new ones, JSON; "" to take back what a command has set, so that those of the workers' configuration hold

Returns 1 changed, or changed before to this; 0 somebody else has changed them meanwhile: nothing written
]]
local who, action, scope, seen, limits = unpack(ARGV, 1, 5)
if limits == "" then limits = redis.call("HGET", KEY.BUDGETS, "file:" .. scope) or "" end
local there = redis.call("HGET", KEY.BUDGETS, scope) or ""
if there == limits then return 1 end
if there ~= seen then return 0 end
if limits == "" then
  redis.call("HDEL", KEY.BUDGETS, scope)
else
  redis.call("HSET", KEY.BUDGETS, scope, limits)
end
audit("budget", who, action, "names", {scope}, now_ms(), "limits", limits)
return 1
