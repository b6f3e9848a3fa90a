#!lua flags=allow-oom
--[[
Renew leases.

KEYS[i]        queue of the i-th lease
ARGV[1]        lease_ms
ARGV[2i]       job id
ARGV[2i + 1]   lease token

Returns the places i of the leases that are lost: someone else holds the job, or it has ended. Where someone else
holds it, the holder counted as dead when it was only late, and this death is taken back.
]]
-- include: lease

local lease_ms = tonumber(ARGV[1])
local time = redis.call("TIME")
local end_ms = time[1] * 1000 + math.floor(time[2] / 1000) + lease_ms
local lost = {}

local function renew(queue, job_id, token)
  local in_progress = KEY.arq_in_progress .. job_id
  local held, holder = lease_held(in_progress, token)
  if held then
    redis.call("PEXPIRE", in_progress, lease_ms + LEASE_GRACE_MS)
    redis.call("ZADD", queue, end_ms, job_id)
    queue_runs(queue, job_id, end_ms)
  elseif holder and (deaths_of(job_id) or 0) > 0 then
    deaths_note(job_id, deaths_of(job_id) - 1)
  end
  return held
end

for i, queue in ipairs(KEYS) do
  local sound, held = pcall(renew, queue, ARGV[2 * i], ARGV[2 * i + 1])
  if sound and not held then lost[#lost + 1] = i end
end
return lost
