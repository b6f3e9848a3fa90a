#!lua flags=allow-oom
-- include: record
-- include: lease
--[[
Before an attempt calls anybody: is there an answer to an equal request, or somebody who is about to get one?

A flight is the one call that equal jobs make together. It is a hash: leader, the id of the job that makes the call,
and token, its lease; once it has landed, landed, the answer, and landed_at, ms. Whoever was there before that may take
the answer. Those who wait are in the sorted set beside it, job id -> since when, ms. A leader whose lease ran out leads
no more, and whoever asks next does.

KEYS[1] cache, "" for a route that does not keep answers
KEYS[2] flight, "" for a route whose equal jobs are worked on apart
KEYS[3] record
ARGV[1] job id    ARGV[2] lease token    ARGV[3] how long a flight is remembered at most, ms

Returns {1, answer}  an answer of the cache
        {2, answer}  the answer of a flight that was under way when this job was there already
        {3, job id}  wait: this job makes the call; it is called when that has landed, see "land"
        {4}          make the call. With a flight this job leads it now; a repeat answers the same
        {0}          the lease is lost; nothing written
]]
local cache, flight, job_id, token = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if not lease_held(KEY.arq_in_progress .. job_id, token) then return {0} end
local kept = cache ~= "" and redis.call("GET", cache)
if kept then return {1, kept} end
if flight == "" then return {4} end
local waiting = flight .. KEY.waiting
local leader, held, landed, landed_at = unpack(redis.call("HMGET", flight, "leader", "token", "landed", "landed_at"))
if landed and tonumber(redis.call("HGET", KEYS[3], "created_at") or landed_at) <= tonumber(landed_at) then
  redis.call("ZREM", waiting, job_id)
  return {2, landed}
end
local flies = leader and not landed and leader ~= job_id
  and redis.call("GET", KEY.arq_in_progress .. leader) == held
  and redis.call("PTTL", KEY.arq_in_progress .. leader) > LEASE_GRACE_MS
if flies then
  redis.call("ZADD", waiting, "NX", now_ms(), job_id)
  redis.call("PEXPIRE", waiting, ARGV[3])
  return {3, leader}
end
redis.call("HDEL", flight, "landed", "landed_at")
redis.call("HSET", flight, "leader", job_id, "token", token)
redis.call("PEXPIRE", flight, ARGV[3])
redis.call("ZREM", waiting, job_id)
return {4}
