#!lua flags=no-writes
-- include: keys
--[[
What a budget holds, and what jobs and their open calls hold of it, at one instant.

ARGV[1] the budget, "<scope>:<window>"    ARGV[2...] job ids

Returns {held, tokens_held} of the budget and {nano-USD, tokens} of the jobs, as four numbers in text
]]
local key, sums = KEY.budget .. ARGV[1], {0, 0}

local function add(money, tokens)
  sums[1], sums[2] = sums[1] + tonumber(money), sums[2] + tonumber(tokens)
end

local function add_calls(journal)
  local there = {}
  local names = redis.pcall("HKEYS", journal)
  if names.err then return end
  for _, name in ipairs(names) do there[name] = true end
  for _, name in ipairs(names) do
    local call = string.match(name, "^(%d+%.%d+%.%d+):hold$")
    if call and not there[call .. ":end"] then
      local hold = cjson.decode(redis.call("HGET", journal, name))
      for _, one in ipairs(hold.keys) do
        if one[1] == key then add(hold.held, hold.tokens) end
      end
    end
  end
end

for i = 2, #ARGV do
  local own = redis.pcall("HGET", KEY.record .. ARGV[i], "hold")
  local one = type(own) == "string" and cjson.decode(own)[key]
  if one then add(one[1], one[2]) end
  add_calls(KEY.journal .. ARGV[i])
end
local there = redis.call("HMGET", key, "held", "tokens_held")
return {there[1] or "0", there[2] or "0", string.format("%.0f", sums[1]), string.format("%.0f", sums[2])}
