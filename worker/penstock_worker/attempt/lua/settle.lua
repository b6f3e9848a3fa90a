#!lua flags=allow-oom
-- include: record
-- include: lease
-- include: ledger
--[[
Write down what a provider call came to: into the journal, the ledger and the job's cost. Costs are not fenced:
a worker that has lost its lease settles too, and its entry says so. Breaker, gate and limits of the target (the
include "admission", pasted ahead) hear of it, and what budgets hold for it (the include "budget") is settled. What it
cost is noted beside what its prompt, its route and its tenant usually spend ("trail").

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token    ARGV[3] call id
ARGV[4] what it came to: answered, failed or unknown
ARGV[5] the same in full, JSON            ARGV[6] cost, nano-USD; "" unknown
ARGV[7] the most it may have cost, nano-USD, if it is unknown whether it was billed; else 0
ARGV[8] target; "" if nothing is to be said of it
ARGV[9] what the end says of it, see admission_report      ARGV[10] how long it asked to be left alone, ms; -1 not said
ARGV[11] tokens it took beyond those counted at its start  ARGV[12] how long it took, and limits: "told" there
ARGV[13] tokens it took                   ARGV[14] the most it may have taken, if that is unknown; else 0
ARGV[15] the text of the answer, where it is kept apart from the journal; else ""
ARGV[16...] names and values of the ledger entry; the first is "estimated", 1 if the figures are no provider's

Returns nil: written
        what it came to, "<kind> <JSON>", when it was settled before, in a repeat or by the worker that had lost the
        lease; nothing written. Only what was unknown may be settled once more.
Either may come in {"alerts", it, ...}, see "alert".
]]
local TURNED_AWAY = {throttled = true, trip = true, trip_account = true} -- not looked at by the provider

local record, job_id, token, call_id, kind = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local journal = KEY.journal .. job_id
local id = job_id .. ":" .. call_id
local before, intent = unpack(redis.call("HMGET", journal, call_id .. ":end", call_id))
if before and (kind == "unknown" or string.sub(before, 1, 8) ~= "unknown ") then return before end
local kept = redis.call("EXISTS", record) == 1
local doubt = (before or not (kept and intent)) and doubt_of(id) or nil
kept = kept and (intent or not doubt) -- else the record is one that was put in the place of a corrupt one
if before and not doubt then return before end -- a bill has told it
if doubt and kind == "unknown" then return kind .. " " .. ARGV[5] end
local holds = lease_held(KEY.arq_in_progress .. job_id, token)
local cost, uncertain = tonumber(ARGV[6]), tonumber(ARGV[7])
local flat = {"job", job_id, "call", call_id, "kind", kind, "cost_nanousd", ARGV[6],
  "uncertain_nanousd", uncertain, "orphan", holds and 0 or 1, unpack(ARGV, 16)}
local budgets = ledger_budgets(journal, call_id)
if doubt and budgets == "" then -- the journal is gone
  budgets = doubt.fields.budgets or ""
  ledger_rebudget(doubt, cost or 0, uncertain, tonumber(ARGV[13]), tonumber(ARGV[14]))
end
if budgets ~= "" then flat[#flat + 1], flat[#flat + 2] = "budgets", budgets end
local estimate = ARGV[17] == "1" and cost and cost > 0 and doubt_estimates()
ledger_add(id, flat, doubt, kind == "unknown" or uncertain > 0 or estimate, ARGV[13], ARGV[14])
local excused = cost == 0 and uncertain == 0 and ARGV[8] ~= "" and ARGV[9] ~= "ok"
  and (TURNED_AWAY[ARGV[9]] or admitted_as_probe(ARGV[8], id))
if ARGV[8] ~= "" then
  admission_report(ARGV[8], id, ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12], now_ms())
end
local now = now_ms()
budget_settle(journal, record, call_id, cost or 0, uncertain, tonumber(ARGV[13]), tonumber(ARGV[14]), now)
local entry = {}
for i = 1, #flat, 2 do entry[flat[i]] = flat[i + 1] end
if not before then trails_add(entry.tenant, entry.prompt, entry.route, (cost or 0) + uncertain, now) end
if ARGV[9] == "trip" then alert("access_refused", ARGV[8], (budget_window("hour", now)), now, {error = entry.error}) end
if ARGV[9] == "trip_account" then
  local account = string.match(ARGV[8], "^[^/]+")
  alert("access_refused", account, (budget_window("hour", now)), now, {error = entry.error})
end
if not cost and kind == "answered" then alert("unknown_price", entry.target, (budget_window("day", now)), now) end
if not kept then return with_alerts(nil) end
if excused then redis.call("HINCRBY", record, "excused:" .. string.match(call_id, "^%d+"), 1) end
redis.call("HSET", journal, call_id .. ":end", kind .. " " .. ARGV[5])
if ARGV[15] ~= "" then
  local parts, kept_ms = KEY.parts .. job_id, redis.call("PTTL", record)
  redis.pcall("HSET", parts, call_id, ARGV[15])
  if kept_ms > 0 then redis.call("PEXPIRE", parts, kept_ms) end -- the run has ended meanwhile
end
if cost and cost > 0 then redis.call("HINCRBY", record, "cost_nanousd", cost) end
if before then
  redis.call("HINCRBY", record, "uncertain_nanousd", -tonumber(redis.call("HGET", journal, call_id .. ":held") or 0))
end
if uncertain > 0 then
  redis.call("HSET", journal, call_id .. ":held", uncertain)
  redis.call("HINCRBY", record, "uncertain_nanousd", uncertain)
end
return with_alerts(nil)
