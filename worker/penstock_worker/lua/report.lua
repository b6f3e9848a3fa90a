#!lua flags=allow-oom
-- include: record
--[[
Keep a worker's report for a while, and its id in the list of those that live.

ARGV[1] worker id    ARGV[2] report, JSON, or "" when the worker ends: both go
ARGV[3] how long it is kept, ms

Returns Redis' time, ms. A repeat changes nothing but when it expires.
]]
local worker_id, report, keep_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = now_ms()
redis.call("ZREMRANGEBYSCORE", KEY.WORKERS, "-inf", now)
if report == "" then
  redis.call("ZREM", KEY.WORKERS, worker_id)
  redis.call("DEL", KEY.worker .. worker_id)
  return now
end
redis.call("SET", KEY.worker .. worker_id, report, "PX", keep_ms)
redis.call("ZADD", KEY.WORKERS, now + keep_ms, worker_id)
redis.call("PEXPIRE", KEY.WORKERS, keep_ms)
return now
