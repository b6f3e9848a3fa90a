#!lua flags=allow-oom
-- include: record
-- include: lease
--[[
Write down that a provider is about to be called, if all that guards the target lets the call through. Without it
no call is made. Breaker, gate and limits (the include "admission") and budgets ("budget") are pasted ahead.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token
ARGV[3] call id, "<run>.<attempt>.<number>"
ARGV[4] intent, JSON
ARGV[5] the most calls the run may make, failed probes that cost nothing apart
ARGV[6] target                           ARGV[7] tokens the call may take
ARGV[8] how long its slot and its probe are waited for, ms
ARGV[9] budgets it counts against, JSON as in "budget"; "" for none
ARGV[10] the most it can cost, nano-USD; 0 where the price is unknown    ARGV[11] the most tokens it can take

Returns 1 written, or written before under this id (a repeat changes nothing)
        0 the lease is lost; nothing written
        2 the run has made as many calls as it may; nothing written
        3 a cancel was asked for; nothing written
        5 written, and the call is a probe of its target's breaker; a repeat answers the same while it is waited for
        {4, ms, code} the target is closed for so long, and what for; nothing written
        {6, ms, scope} the budget of scope has no room, and its window turns in so long; nothing written
]]
local record, job_id, token, call_id, target = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[6]
local id = job_id .. ":" .. call_id
if not lease_held(KEY.arq_in_progress .. job_id, token) then return 0 end
local journal = KEY.journal .. job_id
if redis.call("HEXISTS", journal, call_id) == 1 then return admitted_as_probe(target, id) and 5 or 1 end
local run, calls, cancel, place = unpack(redis.call("HMGET", record, "run", "calls", "cancel", "place"))
if cancel then return 3 end
local most = tonumber(ARGV[5])
if tonumber(calls) >= most and calls - (redis.call("HGET", record, "excused:" .. run) or 0) >= most then return 2 end
local now = now_ms()
local budgets, amount, most_tokens = nil, tonumber(ARGV[10]), tonumber(ARGV[11])
if ARGV[9] ~= "" then
  local scope, ends_ms
  budgets, scope, ends_ms = budget_fits(cjson.decode(ARGV[9]), amount, most_tokens, now)
  if not budgets then return {6, ends_ms - now, scope} end
end
local admitted, at, why = admit(target, id, place, tonumber(ARGV[7]), tonumber(ARGV[8]), now)
if at then return {admitted, at - now, why} end
if place then redis.call("HDEL", record, "place") end
if budgets then budget_hold(journal, call_id, budgets, amount, most_tokens) end
redis.call("HSET", journal, call_id, ARGV[4])
redis.call("HINCRBY", record, "calls", 1)
tell(job_id, run, "progress", now, ARGV[4])
return admitted
