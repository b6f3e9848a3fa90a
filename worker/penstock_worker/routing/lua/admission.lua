--[[
Include: whether a target may be called now, all that guards it asked at once, and what a call's end means to it.

A target is guarded by the breaker of its account, its own breaker, and its gate. Nothing is taken of any of them
unless all let the call through. RULE and LIMITS are pasted ahead.
]]
-- include: keys
-- include: breaker
-- include: gate

local ACCOUNT_PROBES = 1
-- Probes that took longer kept so many from their turns that the line begins anew, in the order in which they come back.
local LONG_TRIAL_MS = 1000
-- What an end is to the account's breaker and to the target's: a refused key or an empty account is the account's.
local TO_ACCOUNT = {ok = "ok", throttled = "ok", trip_account = "trip"}
local TO_TARGET = {ok = "ok", bad = "bad", trip = "trip"}

local function guards_of(target, place, now)
  local guards = {account = KEY.breaker .. string.match(target, "^[^/]+"), own = KEY.breaker .. target, at = 0}
  local account, account_at, account_tried = breaker_ask(guards.account, ACCOUNT_PROBES, now)
  local own, own_at, own_tried = breaker_ask(guards.own, RULE.probes, now)
  guards.account_probe, guards.own_probe = account == "probe", own == "probe"
  guards.gate = gate_read(target, now)
  guards.placed = gate_has_place(guards.gate, target, place, now)
  local gate_at, why = gate_ask(guards.gate, guards.placed, guards.account_probe or guards.own_probe, now)
  if gate_at > now then guards.at, guards.why = gate_at, why end
  if own_at then guards.at, guards.why = math.max(guards.at, own_at), "breaker_open" end
  if account_at then guards.at, guards.why = math.max(guards.at, account_at), "account_closed" end
  guards.opens_at = math.max(now, own_at or 0, account_at or 0, guards.gate.not_before, guards.gate.quiet_at)
  guards.tried = own_tried or account_tried
  return guards
end

-- Let a call through, or say until when it is not, and why. place is the job's place or false; tokens what the call
-- may take; lease_ms how long its slot and its probe are waited for.
-- Returns 1; 5 when the call is a probe; 4, the moment (ms), the code.
local function admit(target, id, place, tokens, lease_ms, now)
  local guards = guards_of(target, place, now)
  if guards.at > now then return 4, guards.at, guards.why end
  if guards.account_probe then breaker_probe(guards.account, id, lease_ms, now) end
  if guards.own_probe then breaker_probe(guards.own, id, lease_ms, now) end
  gate_take(guards.gate, id, tokens, guards.placed, lease_ms, now)
  return (guards.account_probe or guards.own_probe) and 5 or 1
end

-- Whether the call of this id was let through as a probe, and is still waited for.
local function admitted_as_probe(target, id)
  local account = KEY.breaker .. string.match(target, "^[^/]+")
  return redis.call("HEXISTS", account, "probe:" .. id) == 1
    or redis.call("HEXISTS", KEY.breaker .. target, "probe:" .. id) == 1
end

-- Give a job that waits for this target a place in its line. Returns when its turn is, ms, and the place. While probes
-- try it again nobody is given one: those whose turn it was keep theirs, and all look again a little later.
local function admission_place(target, tokens, now)
  local guards = guards_of(target, false, now)
  if guards.tried then return math.ceil(guards.opens_at), nil end
  return gate_place(guards.gate, target, math.max(guards.at, now), guards.opens_at, tokens, now)
end

-- Take in how a call ended:
--   ok            the target answered, be it to refuse the request
--   bad           it failed in a way that speaks against its health
--   trip          it will fail every call alike for now; trip_account: and so will every target of its account
--   throttled     it was asked too much
--   abort         the call says nothing of the target
-- wait_ms: how long it asked to be left alone; -1 when it did not say. told: how long it took, ms, -1 unknown; and
-- behind it, where headers told of limits, the six numbers of gate_learn.
local function admission_report(target, id, what, wait_ms, more_tokens, told, now)
  local account, own = KEY.breaker .. string.match(target, "^[^/]+"), KEY.breaker .. target
  local wait = math.max(0, wait_ms)
  local to_account = TO_ACCOUNT[what] or "abort"
  if to_account == "trip" or redis.call("HEXISTS", account, "state") == 1 then
    breaker_report(account, id, to_account, wait, ACCOUNT_PROBES, now)
  end
  local became, until_ms = breaker_report(own, id, TO_TARGET[what] or "abort", wait, RULE.probes, now)
  local gate = gate_read(target, now)
  local numbers = {}
  for number in string.gmatch(told, "%S+") do numbers[#numbers + 1] = tonumber(number) end
  local took_ms = table.remove(numbers, 1)
  gate_return(gate, id, what == "ok", more_tokens, took_ms, now)
  if #numbers == 6 then gate_learn(gate, numbers, now) end
  if what == "throttled" or (what == "bad" and wait_ms > 0) then gate_hold(gate, wait_ms, now) end
  if became == "opened" then
    gate_ramp(gate, until_ms)
    gate_keep(gate, now)
  elseif became == "closed" and (not gate.ramps or now - gate.ramp_at > LONG_TRIAL_MS) then
    gate_ramp(gate, now)
    gate_keep(gate, now)
  end
end
