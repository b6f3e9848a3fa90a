#!lua flags=allow-oom
-- include: keys
--[[
Tell the limits of a worker's configuration to all: they hold for each scope that no command has given others. They
replace those that another configuration told before; a worker that has none leaves them alone.

ARGV[1] scope -> its limits, JSON of JSON texts; {} for none
ARGV[2] task -> what one call of it may take, JSON of JSON texts

Returns the number of scopes whose limits are a command's, and so not these
]]
local scopes, bounds, kept = cjson.decode(ARGV[1]), cjson.decode(ARGV[2]), 0
for task, bound in pairs(bounds) do redis.call("HSET", KEY.BUDGETS, "bound:" .. task, bound) end
if next(scopes) == nil then return 0 end

local function is_command(text) return text and cjson.decode(text).source == "command" end

for _, name in ipairs(redis.call("HKEYS", KEY.BUDGETS)) do
  local scope = string.match(name, "^file:(.+)$")
  if scope and not scopes[scope] then
    redis.call("HDEL", KEY.BUDGETS, name)
    if not is_command(redis.call("HGET", KEY.BUDGETS, scope)) then redis.call("HDEL", KEY.BUDGETS, scope) end
  end
end
for scope, limits in pairs(scopes) do
  redis.call("HSET", KEY.BUDGETS, "file:" .. scope, limits)
  if is_command(redis.call("HGET", KEY.BUDGETS, scope)) then
    kept = kept + 1
  else
    redis.call("HSET", KEY.BUDGETS, scope, limits)
  end
end
redis.call("HSET", KEY.BUDGETS, "file", 1)
return kept
