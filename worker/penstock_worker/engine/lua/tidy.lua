#!lua flags=allow-oom
--[[
Forget what was noted of jobs that neither wait nor run: aborts, which would kill the next job with that id, and
deaths. Of aborts the oldest are looked at, of deaths a few at random; what is left is found by a later call.

KEYS[1] aborts  sorted set: job id -> when it was asked, ms, by the asker's clock
KEYS[2] deaths  hash: job id -> holders that vanished in a row
ARGV[1] age     aborts asked longer ago than this are looked at, ms

Returns how many were forgotten.
]]
-- include: keys

local LOOKED_AT = 1000
local aborts, deaths = KEYS[1], KEYS[2]
local time = redis.call("TIME")
local before_ms = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
local forgotten = 0

local function is_gone(job_id)
  return redis.call("EXISTS", KEY.arq_job .. job_id, KEY.record .. job_id, KEY.arq_in_progress .. job_id) == 0
end

for _, job_id in ipairs(redis.call("ZRANGE", aborts, "-inf", before_ms, "BYSCORE", "LIMIT", 0, LOOKED_AT)) do
  if is_gone(job_id) then forgotten = forgotten + redis.call("ZREM", aborts, job_id) end
end
for _, job_id in ipairs(redis.call("HRANDFIELD", deaths, LOOKED_AT)) do
  if is_gone(job_id) then forgotten = forgotten + redis.call("HDEL", deaths, job_id) end
end
return forgotten
