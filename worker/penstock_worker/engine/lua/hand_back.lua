#!lua flags=allow-oom
--[[
Give jobs of arq queues back unfinished, to be run at once by another worker; no try is charged.

KEYS[i]     queue of the i-th job
ARGV[2i-1]  job id
ARGV[2i]    lease token

Returns how many leases were given back; those that are not held any more are left as they are.
]]
-- include: lease

local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local given = 0
for i, queue in ipairs(KEYS) do
  local job_id, token = ARGV[2 * i - 1], ARGV[2 * i]
  if lease_held(KEY.arq_in_progress .. job_id, token) then
    redis.call("ZADD", queue, now_ms, job_id)
    redis.call("DEL", KEY.arq_in_progress .. job_id)
    if deaths_of(job_id) then deaths_note(job_id, 0) end
    given = given + 1
  end
end
return given
