#!lua flags=allow-oom
-- include: record
-- include: audit
--[[
Let a prompt or a route go on that was stopped for its cost, and forget what it usually costs: what it costs from now on
is its usual, once enough windows have passed.

ARGV[1] who    ARGV[2] the action's id    ARGV[3] "prompt:<prompt>" or "route:<route>"

Returns 1 when it was stopped, 0 when it was not
]]
local who, action, scope = unpack(ARGV)
local now = now_ms()
local until_ms = tonumber(redis.call("HGET", KEY.BUDGETS, "open:" .. scope) or 0)
redis.call("HDEL", KEY.BUDGETS, "open:" .. scope)
redis.call("DEL", KEY.trail .. scope)
audit("budget_reset", who, action, "names", {scope}, now)
return until_ms > now and 1 or 0
