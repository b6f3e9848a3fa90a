-- include: record
--[[
Take in what a worker has seen of its models' tokens, and tell what all workers have; and which accounts are closed.

A target's hash: "<kind>:<size>" -> "<calls> <highest> <before>", see penstock_worker.routing.tokens.

ARGV[1] JSON: {accounts = [name ...], targets = {target = {field = [calls, highest]}}}
ARGV[2] calls after which a maximum gives way    ARGV[3] how long what was seen is kept, ms

Returns JSON: {closed = {account = ms until it is tried again}, seen = {target = {field = [calls, highest, before]}}}
]]
local told, forget_after, now = cjson.decode(ARGV[1]), tonumber(ARGV[2]), now_ms()
local closed, seen = {}, {}

for _, account in ipairs(told.accounts) do
  local state, until_ms = unpack(redis.call("HMGET", KEY.breaker .. account, "state", "until"))
  if state then closed[account] = math.max(0, until_ms - now) end
end

for target, fields in pairs(told.targets) do
  local key = KEY.tokens .. target
  for field, more in pairs(fields) do
    local calls, highest, before = string.match(redis.call("HGET", key, field) or "0 0 0", "^(%d+) (%d+) (%d+)$")
    calls, highest = (tonumber(calls) or 0) + more[1], math.max(tonumber(highest) or 0, more[2])
    if calls >= forget_after then calls, highest, before = 0, 0, highest end
    redis.call("HSET", key, field, string.format("%d %d %d", calls, highest, tonumber(before) or 0))
  end
  if next(fields) then redis.call("PEXPIRE", key, ARGV[3]) end
  local row, all = redis.call("HGETALL", key), {}
  for i = 1, #row, 2 do
    local calls, highest, before = string.match(row[i + 1], "^(%d+) (%d+) (%d+)$")
    if calls then all[row[i]] = {tonumber(calls), tonumber(highest), tonumber(before)} end
  end
  if next(all) then seen[target] = all end
end
return cjson.encode({closed = closed, seen = seen})
