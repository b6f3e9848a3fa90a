#!lua flags=allow-oom
-- include: record
-- include: lease
-- include: journal
--[[
Bury a job whose record cannot be read: what is there is replaced by a record that says so, as a dead letter.

KEYS[1] queue
ARGV[1] job id    ARGV[2] lease token    ARGV[3] tenant    ARGV[4] lane
ARGV[5] failure, JSON                    ARGV[6] retention, ms

Returns 1 buried, or buried before by this very call; 0 the lease is lost, nothing written
]]
local job_id, tenant, lane = ARGV[1], ARGV[3], ARGV[4]
local at, now, left = keys_of(job_id), now_ms(), ARGV[2] .. " dead"
local known = redis.pcall("HMGET", at.record, "run", "task", "state", "idem", "left_by", "hold")
if known.err then known = {} end
if known[5] == left then return 1 end
if not lease_held(KEY.arq_in_progress .. job_id, ARGV[2]) then return 0 end
local run, task, state, idem = tonumber(known[1]) or 1, known[2] or "unknown", known[3], known[4]
local counted = state == "queued" or state == "scheduled" or state == "running"
if not counted then state = (deaths_of(job_id) or 0) > 0 and "running" or "queued" end
journal_close(job_id, tenant, task)
if known[6] then pcall(release_hold, at.record, known[6]) end
for _, key in pairs(at) do redis.call("DEL", key) end
redis.call("HSET", at.record, "v", 1, "tenant", tenant, "lane", lane, "task", task, "state", "dead", "run", run,
  "attempt", 0, "calls", 0, "created_at", now, "due_at", now, "ended_at", now, "failure", ARGV[5],
  "idem_ms", 0, "left_by", left, "keep_ms", ARGV[6], "keep_dead_ms", ARGV[6])
redis.call("HINCRBY", KEY.COUNTS, "open", -1)
redis.call("ZADD", KEY.state_index .. "dead", now, job_id)
tell_state(job_id, tenant, task, run, state, "dead", now, '{"code":"corrupt_record"}')
for _, key in pairs(at) do redis.call("PEXPIRE", key, ARGV[6]) end
if idem and string.sub(idem, 1, #KEY.idempotency) == KEY.idempotency then redis.call("PEXPIRE", idem, ARGV[6]) end
lease_release(KEYS[1], job_id)
return 1
