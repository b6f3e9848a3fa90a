--[[
Include: what the journal of a job is when its run ends.

The journal is a hash: "<run>.<attempt>.<number>" -> the intent of a call, JSON; the same with ":end" -> what it came
to, "<kind> <JSON>"; with ":held" -> what is held as uncertain for it, nano-USD; with ":hold" -> what budgets hold for
it (the include "budget", pasted ahead); with ":response" and ":tool:<n>", and "tool:<digest>" -> facts, see "note". Texts of answers to steps are in the hash of the job's parts.
]]
-- include: keys
-- include: ledger

local function settle_open(job_id, tenant, task, call_id)
  local journal = KEY.journal .. job_id
  local intent = cjson.decode(redis.call("HGET", journal, call_id))
  local held = tonumber(intent.held_nanousd)
  local told = cjson.encode({error = "interrupted", billed = "unknown", cost_nanousd = held and 0 or cjson.null,
    uncertain_nanousd = held or 0})
  local flat = {"job", job_id, "call", call_id, "kind", "unknown", "cost_nanousd", held and 0 or "",
    "uncertain_nanousd", held or 0, "orphan", 0, "tenant", tenant, "task", task, "billed", "unknown",
    "error", "interrupted"}
  local function tell(name, value)
    if value ~= nil and value ~= cjson.null and value ~= "" then flat[#flat + 1], flat[#flat + 2] = name, value end
  end
  for _, name in ipairs({"user", "target", "prompt", "purpose", "price", "held_nanousd", "held_tokens",
    "cap_tokens"}) do tell(name, intent[name]) end
  tell("sent_at_ms", intent.at_ms)
  tell("budgets", ledger_budgets(journal, call_id))
  ledger_add(job_id .. ":" .. call_id, flat, nil, true, 0, intent.held_tokens or 0)
  local hold = redis.call("HGET", journal, call_id .. ":hold")
  budget_settle(journal, KEY.record .. job_id, call_id, 0, held or 0, 0,
    hold and tonumber(cjson.decode(hold).tokens) or 0, now_ms())
  redis.call("HSET", journal, call_id .. ":end", "unknown " .. told)
  if held and held > 0 then
    redis.call("HSET", journal, call_id .. ":held", held)
    redis.call("HINCRBY", KEY.record .. job_id, "uncertain_nanousd", held)
  end
end

-- Settle the calls of a job whose end nobody has told: they were sent, perhaps, by a worker that died. The most that
-- each can have cost stays on the books, until that worker should come back and tell more. A journal that cannot be
-- read keeps no job from its end.
local function journal_close(job_id, tenant, task)
  local fields = redis.pcall("HKEYS", KEY.journal .. job_id)
  if fields.err then return end
  local names = {}
  for _, name in ipairs(fields) do names[name] = true end
  for _, name in ipairs(fields) do
    if string.match(name, "^%d+%.%d+%.%d+$") and not names[name .. ":end"] then
      pcall(settle_open, job_id, tenant, task, name)
    end
  end
end
