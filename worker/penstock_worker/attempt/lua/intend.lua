#!lua flags=allow-oom
-- include: record
-- include: lease
--[[
Write down that a provider is about to be called, if all that guards the target lets the call through. Without it
no call is made. Breaker, gate and limits (the include "admission") and budgets ("budget") are pasted ahead: the call's
worst case is held in every budget that applies, or in none.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token
ARGV[3] call id, "<run>.<attempt>.<number>"
ARGV[4] intent, JSON
ARGV[5] the most calls the run may make; apart from MOST_EXCUSED that cost nothing, being probes or turned away unread
ARGV[6] target                           ARGV[7] tokens the call may take
ARGV[8] how long its slot and its probe are waited for, ms
ARGV[9] 1 if this worker's configuration has budgets, which must be told before the first call; else 0
ARGV[10] the most it can cost, nano-USD; "" where the price is unknown    ARGV[11] the most tokens it can take
ARGV[12] prompt                          ARGV[13] route

Returns 1 written, or written before under this id (a repeat changes nothing)
        0 the lease is lost; nothing written
        2 the run has made as many calls as it may; nothing written
        3 a cancel was asked for; nothing written
        5 written, and the call is a probe of its target's breaker; a repeat answers the same while it is waited for
        {4, ms, code} the target is closed for so long, and what for; nothing written
        {6, ms, scope, policy} the budget of scope has no room, and its window turns in so long; nothing written
        {7, ms, scope} the cost breaker of scope is open for so long; nothing written
        8 the budgets of the configuration are not known to Redis: tell them, and ask again; nothing written
Any of them may come in {"alerts", it, ...}, see "alert".
]]
local MOST_EXCUSED = 300

local record, job_id, token, call_id, target = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[6]
local id = job_id .. ":" .. call_id
if not lease_held(KEY.arq_in_progress .. job_id, token) then return 0 end
local journal = KEY.journal .. job_id
if redis.call("HEXISTS", journal, call_id) == 1 then return admitted_as_probe(target, id) and 5 or 1 end
local run, calls, cancel, place, tenant, task, user, hold = unpack(
  redis.call("HMGET", record, "run", "calls", "cancel", "place", "tenant", "task", "user", "hold"))
if cancel then return 3 end
local most = tonumber(ARGV[5])
if tonumber(calls) >= most then
  local excused = tonumber(redis.call("HGET", record, "excused:" .. run) or 0)
  if calls - excused >= most or excused >= MOST_EXCUSED then return 2 end
end
local now, prompt, route = now_ms(), "prompt:" .. ARGV[12], "route:" .. ARGV[13]
local amount, most_tokens = tonumber(ARGV[10] ~= "" and ARGV[10] or 0), tonumber(ARGV[11])
local budgets, told, prompt_open, route_open = budget_rows({tenant = tenant, task = task, user = user,
  prompt = ARGV[12]}, now, nil, {"file", "open:" .. prompt, "open:" .. route})
if ARGV[9] == "1" and not told then return 8 end
for scope, until_ms in pairs({[prompt] = prompt_open or nil, [route] = route_open or nil}) do
  if tonumber(until_ms) > now then return {7, until_ms - now, scope} end
  redis.call("HDEL", KEY.BUDGETS, "open:" .. scope)
end
local own = hold and cjson.decode(hold)
local full = budget_full(budgets, amount, most_tokens, own, now)
if full then return with_alerts({6, full.ends - now, full.scope, full.when}) end
local admitted, at, why = admit(target, id, place, tonumber(ARGV[7]), tonumber(ARGV[8]), now)
if at then return {admitted, at - now, why} end
if place then redis.call("HDEL", record, "place") end
if #budgets > 0 then budget_hold(journal, record, call_id, budgets, own, amount, most_tokens) end
if ARGV[10] == "" then alert("unknown_price", target, (budget_window("day", now)), now) end
redis.call("HSET", journal, call_id, ARGV[4])
redis.call("HINCRBY", record, "calls", 1)
tell(job_id, run, "progress", now, ARGV[4])
return with_alerts(admitted)
