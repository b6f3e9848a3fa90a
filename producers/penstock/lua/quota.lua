--[[
Include: how much a tenant or a user may enqueue.

Quotas are one hash for all: scope -> JSON {requests_per_min, tokens_per_min, request_bytes, max_output_tokens}, each of
which may be missing. tenant:*, user:<tenant>/* and user:* hold for each that has none of its own, and are counted for
each apart.

What is taken is counted by the generic cell rate algorithm (ATM Forum, 1996): for each kind of a scope, the time at
which all that was taken would be paid off at the rate, ms. It may be a minute ahead, so that a minute's worth can be
taken at once.
]]
-- include: keys

local QUOTA_BURST_MS = 60000

-- The quotas that apply: {scope, quota} of the tenant, and of the user if there is one.
local function quotas_of(tenant, user)
  local names = {"tenant:" .. tenant, "tenant:*"}
  if user then
    for _, name in ipairs({"user:" .. tenant .. "/" .. user, "user:" .. tenant .. "/*", "user:*"}) do
      names[#names + 1] = name
    end
  end
  local found = redis.call("HMGET", KEY.QUOTAS, unpack(names))
  local quotas = {}
  if found[1] or found[2] then quotas[1] = {names[1], cjson.decode(found[1] or found[2])} end
  local of_user = found[3] or found[4] or found[5]
  if of_user then quotas[#quotas + 1] = {names[3], cjson.decode(of_user)} end
  return quotas
end

-- What stands against one job more: {scope, kind, limit, wait in ms, -1 when waiting does not help}; else nil, and it is
-- counted. amounts: kind -> how much it takes; caps: kind -> what it asks for.
local function quota_full(quotas, amounts, caps, now)
  local writes = {}
  for _, row in ipairs(quotas) do
    local scope, quota = row[1], row[2]
    for kind, asked in pairs(caps) do
      if quota[kind] and asked > quota[kind] then return {scope, kind, quota[kind], -1} end
    end
    for kind, amount in pairs(amounts) do
      local limit = quota[kind]
      if limit then
        if amount > limit then return {scope, kind, limit, -1} end
        local key = KEY.quota .. scope
        local paid_off = math.max(now, tonumber(redis.call("HGET", key, kind) or 0)) + amount * QUOTA_BURST_MS / limit
        local wait_ms = math.ceil(paid_off - now - QUOTA_BURST_MS)
        if wait_ms > 0 then return {scope, kind, limit, wait_ms} end
        writes[#writes + 1] = {key, kind, string.format("%.3f", paid_off)}
      end
    end
  end
  for _, write in ipairs(writes) do
    redis.call("HSET", unpack(write))
    redis.call("PEXPIRE", write[1], 2 * QUOTA_BURST_MS)
  end
  return nil
end
