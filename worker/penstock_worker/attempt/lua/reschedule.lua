#!lua flags=allow-oom
-- include: record
-- include: queue
-- include: lease
-- include: journal
--[[
Give a job back to its queue, to be started again later or at once. One whose cancel was asked for ends here.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token
ARGV[3] delay, ms; 0 for at once; below 0: the moment itself, ms, negated
ARGV[4] 1 if the attempt is charged, 0 if it is not (a hand back, a throttle)
ARGV[5] what the attempt came to, JSON, for the journal; "" for nothing
ARGV[6] why, a code
ARGV[7] the queue that it was claimed from

Returns 1 given back, or given back before by this very call (a repeat changes nothing)
        2 cancelled; a repeat answers the same
        0 the lease is lost: nothing written
       -1 there is no record any more: only the lease is ended
]]
local record, job_id, token, delay_ms = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local tenant, lane, task, run, attempt, cancel, left_by, called = unpack(
  redis.call("HMGET", record, "tenant", "lane", "task", "run", "attempt", "cancel", "left_by", "called"))
if left_by == token .. " given" then return 1 end
if left_by == token .. " cancelled" then return 2 end
if not lease_held(KEY.arq_in_progress .. job_id, token) then return 0 end
if not tenant then
  lease_release(ARGV[7], job_id)
  return -1
end
local now = now_ms()
if delay_ms < 0 then delay_ms = math.max(0, -delay_ms - now) end
if called then -- what it was about to wait for is there
  redis.call("HDEL", record, "called")
  delay_ms = 0
end
local due = now + delay_ms
local state = delay_ms > 0 and "scheduled" or "queued"
if ARGV[5] ~= "" then redis.call("HSET", KEY.journal .. job_id, "attempt:" .. run .. "." .. attempt, ARGV[5]) end
journal_close(job_id, tenant, task) -- calls of a vanished holder, before somebody ends the job who does not know of them
if cancel then
  record_end(job_id, "cancelled", now, "{}")
  lease_release(ARGV[7], job_id)
  redis.call("HSET", record, "left_by", token .. " cancelled")
  return 2
end
if ARGV[4] == "0" then redis.call("HINCRBY", record, "attempt", -1) end
redis.call("HSET", record, "state", state, "due_at", due, "left_by", token .. " given")
lease_move(ARGV[7], KEY.ring .. lane, KEY.wait .. lane, tenant, job_id, due, now)
tell_state(job_id, tenant, task, run, "running", state, now,
  cjson.encode({due_at_ms = due, reason = ARGV[6]}))
return 1
