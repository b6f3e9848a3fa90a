--[[
Include: the circuit breaker of a target, or of an account (the part of a target's name before the slash).

A hash. Closed, it has no state, but "ok:<n>" and "bad:<n>", the calls that ended in part n of time, and from the
last time "repeats" and "closed_at". Else state is "open" or "half", with
  until     the moment from which probes may be sent, ms; only ever put off
  repeats   openings in a row, this one included; each is twice as long as the one before
and while it is half open
  tried_at  since when, ms
  passed    probes that went well
  probe:<id>  the moment at which a probe that nobody reported gives way to another, ms
RULE is pasted ahead. Every function takes the time, so that one script decides by one clock.
]]
-- include: keys

local BREAKER_KEPT_MS, RECHECK_MS, MAX_RECHECK_MS = 86400000, 1000, 30000

-- The probes under way, and the names of those whose time is over.
local function breaker_probes(key, now)
  local live, over, row = 0, {}, redis.call("HGETALL", key)
  for i = 1, #row, 2 do
    if string.sub(row[i], 1, 6) == "probe:" then
      if tonumber(row[i + 1]) > now then live = live + 1 else over[#over + 1] = row[i] end
    end
  end
  return live, over
end

-- What one more call is: "pass", "probe", or "closed" with the moment from which to ask again, and whether that is
-- because probes are out. Writes nothing.
-- While probes are out, those who ask are told to come back later the longer it takes.
local function breaker_ask(key, most, now)
  local state, until_ms, tried_at, passed = unpack(redis.call("HMGET", key, "state", "until", "tried_at", "passed"))
  if not state or not RULE.enabled then return "pass" end
  if state == "open" then
    if now < tonumber(until_ms) then return "closed", tonumber(until_ms), false end
    return "probe"
  end
  if breaker_probes(key, now) + tonumber(passed) < most then return "probe" end
  return "closed", now + math.min(MAX_RECHECK_MS, math.max(RECHECK_MS, now - tonumber(tried_at))), true
end

-- Send a probe, for whose end is waited lease_ms.
local function breaker_probe(key, id, lease_ms, now)
  if redis.call("HGET", key, "state") == "open" then
    redis.call("HSET", key, "state", "half", "tried_at", now, "passed", 0)
  end
  local _, over = breaker_probes(key, now)
  if over[1] then redis.call("HDEL", key, unpack(over)) end
  redis.call("HSET", key, "probe:" .. id, now + lease_ms)
end

-- Open, for longer when it follows on another opening, and never shorter than it was open before or wait_ms.
-- Returns until when.
local function breaker_open(key, first_ms, most_ms, wait_ms, now)
  local until_ms, repeats, closed_at = unpack(redis.call("HMGET", key, "until", "repeats", "closed_at"))
  repeats = tonumber(repeats) or 0
  if closed_at and now - closed_at > RULE.window then repeats = 0 end
  local open_ms = math.max(math.min(most_ms, first_ms * 2 ^ math.min(repeats, 20)), wait_ms)
  until_ms = math.max(tonumber(until_ms) or 0, now + math.floor(open_ms))
  redis.call("DEL", key)
  redis.call("HSET", key, "state", "open", "until", until_ms, "repeats", repeats + 1)
  redis.call("PEXPIREAT", key, until_ms + BREAKER_KEPT_MS)
  return until_ms
end

local function breaker_close(key, now)
  local repeats = redis.call("HGET", key, "repeats")
  redis.call("DEL", key)
  redis.call("HSET", key, "repeats", repeats, "closed_at", now)
  redis.call("PEXPIRE", key, math.ceil(2 * RULE.window))
end

-- Count a call of a closed breaker; whether it has to open.
local function breaker_count(key, what, now)
  local part = math.floor(now / RULE.bucket)
  local first = redis.call("HINCRBY", key, what .. ":" .. part, 1) == 1
  if first then redis.call("PEXPIRE", key, math.ceil(2 * RULE.window)) end
  if not first and what == "ok" then return false end
  local sums, old, row = {ok = 0, bad = 0}, {}, redis.call("HGETALL", key)
  for i = 1, #row, 2 do
    local kind, number = string.match(row[i], "^(%a+):(%d+)$")
    if kind and part - number >= RULE.window / RULE.bucket then
      old[#old + 1] = row[i]
    elseif kind then
      sums[kind] = sums[kind] + row[i + 1]
    end
  end
  if old[1] then redis.call("HDEL", key, unpack(old)) end
  if what == "ok" then return false end
  local all = sums.ok + sums.bad
  return (all >= RULE.min_calls and sums.bad >= RULE.failure_ratio * all)
    or (sums.ok == 0 and sums.bad >= RULE.all_failed_calls)
end

-- Take in how a call ended: "ok", "bad", "trip" (no further call can go well) or "abort" (says nothing). What a
-- call from before the opening has to say of a half-open breaker is too old to count, but for a trip.
-- Returns "opened" and until when, "closed", or nothing when it stays as it was; then whether it was a probe.
local function breaker_report(key, id, what, wait_ms, most, now)
  local state, until_ms, passed = unpack(redis.call("HMGET", key, "state", "until", "passed"))
  if not state then
    if not RULE.enabled then return nil end
    if what == "trip" then return "opened", breaker_open(key, RULE.access_open, RULE.max_access_open, wait_ms, now) end
    if what ~= "abort" and breaker_count(key, what, now) then
      return "opened", breaker_open(key, RULE.open, RULE.max_open, wait_ms, now)
    end
    return nil
  end
  if state == "open" then
    if what ~= "ok" and now + wait_ms > tonumber(until_ms) then redis.call("HSET", key, "until", now + wait_ms) end
    return nil
  end
  local probed = redis.call("HDEL", key, "probe:" .. id) == 1
  if what == "trip" then
    return "opened", breaker_open(key, RULE.access_open, RULE.max_access_open, wait_ms, now)
  elseif probed and what == "bad" then
    return "opened", breaker_open(key, RULE.open, RULE.max_open, wait_ms, now)
  elseif probed and what == "ok" then
    if passed + 1 >= most then
      breaker_close(key, now)
      return "closed"
    end
    redis.call("HSET", key, "passed", passed + 1)
  end
  return nil
end
