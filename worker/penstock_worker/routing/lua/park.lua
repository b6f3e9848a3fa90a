#!lua flags=allow-oom
-- include: record
-- include: lease
-- include: admission
--[[
Give a job that is not let through to any of its targets a place in the line of the one that opens first. RULE and
LIMITS are pasted ahead.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token
ARGV[3] target    ARGV[4] tokens that its call may take
ARGV[5] the job's deadline, ms; "" for none: a place at or after it is not given

Returns an array: 1 given, 0 the lease is lost, 2 too late; and when its turn is, ms
]]
local record, job_id, target = KEYS[1], ARGV[1], ARGV[3]
if not lease_held(KEY.arq_in_progress .. job_id, ARGV[2]) then return {0, 0} end
local now, deadline = now_ms(), tonumber(ARGV[5])
local at = math.max(now, guards_of(target, false, now).at)
if deadline and at >= deadline then return {2, at} end
local place
at, place = admission_place(target, tonumber(ARGV[4]), now)
if place then redis.call("HSET", record, "place", place) end
return {1, math.ceil(at)}
