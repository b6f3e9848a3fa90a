#!lua flags=allow-oom
-- include: record
-- include: lease
-- include: journal
--[[
End a job's run: state, result or failure, event, the last of its accounting, and the lease, all in one.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token
ARGV[3] succeeded, degraded, dead, cancelled or expired
ARGV[4] the field to write, result or failure; "" for none    ARGV[5] its JSON
ARGV[6] what the attempt came to, JSON, for the journal       ARGV[7] data of the event, JSON
ARGV[8] the queue that it was claimed from

Returns 1 ended, or ended before by this very call (a repeat changes nothing)
        0 the lease is lost: nothing written
       -1 there is no record any more: only the lease is ended
Any of them may come in {"alerts", it, ...}, see "alert". Budgets (the include "budget") and "fallbacks" are pasted ahead.
]]
local record, job_id, token, state = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local left = token .. " " .. state
local tenant, task, run, attempt, left_by = unpack(
  redis.call("HMGET", record, "tenant", "task", "run", "attempt", "left_by"))
if left_by == left then return 1 end
if not lease_held(KEY.arq_in_progress .. job_id, token) then return 0 end
if not tenant then
  lease_release(ARGV[8], job_id)
  return -1
end
if ARGV[4] ~= "" then redis.call("HSET", record, ARGV[4], ARGV[5]) end
redis.call("HSET", KEY.journal .. job_id, "attempt:" .. run .. "." .. attempt, ARGV[6])
journal_close(job_id, tenant, task)
local now = now_ms()
record_end(job_id, state, now, ARGV[7])
fallbacks_count(task, state, now)
lease_release(ARGV[8], job_id)
redis.call("HSET", record, "left_by", left)
return with_alerts(1)
