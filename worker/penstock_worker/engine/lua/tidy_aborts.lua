#!lua flags=allow-oom
--[[
Forget aborts that were asked of jobs that neither wait nor run: they would kill the next job with that id.

KEYS[1] aborts  sorted set: job id -> when it was asked, ms, by the asker's clock
ARGV[1] age     what was asked longer ago than this is looked at, ms

Returns how many were forgotten.
]]
-- include: keys

local time = redis.call("TIME")
local before_ms = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
local forgotten = 0
for _, job_id in ipairs(redis.call("ZRANGE", KEYS[1], "-inf", before_ms, "BYSCORE", "LIMIT", 0, 1000)) do
  if redis.call("EXISTS", KEY.arq_job .. job_id, KEY.record .. job_id, KEY.arq_in_progress .. job_id) == 0 then
    forgotten = forgotten + redis.call("ZREM", KEYS[1], job_id)
  end
end
return forgotten
