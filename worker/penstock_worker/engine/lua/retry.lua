#!lua flags=allow-oom
--[[
End the lease on a job of an arq queue that has to run again; the try is charged.

KEYS[1] queue
ARGV[1] job id
ARGV[2] lease token
ARGV[3] wait, ms >= 0
ARGV[4] tries charged so far, with this one
ARGV[5] how long the payload is kept at least beyond the wait, ms

Returns 1 written; 0 nobody holds the lease (a repeat, or it ran out); -1 someone else holds it.
]]
-- include: lease

local queue, job_id, wait_ms, keep_ms = KEYS[1], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[5])
local held, holder = lease_held(KEY.arq_in_progress .. job_id, ARGV[2])
if not held then return holder and -1 or 0 end
local time = redis.call("TIME")
redis.call("ZADD", queue, time[1] * 1000 + math.floor(time[2] / 1000) + wait_ms, job_id)
redis.call("SET", KEY.arq_retry .. job_id, ARGV[4], "PX", wait_ms + keep_ms)
redis.call("PEXPIRE", KEY.arq_job .. job_id, wait_ms + keep_ms, "GT")
redis.call("DEL", KEY.arq_in_progress .. job_id, KEY.deaths .. job_id)
return 1
