#!lua flags=allow-oom
--[[
End the leases on jobs of arq queues that have to run again; their tries are charged.

KEYS[i]      queue of the i-th job
ARGV, five for each job: job id; lease token; wait, ms >= 0; tries charged so far, with this one;
             how long the payload is kept at least beyond the wait, ms

Returns for each job: 1 written; 0 nobody holds its lease (a repeat, or it ran out); -1 someone else holds it; or the
text of an error.
]]
-- include: lease

local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function retry(queue, job_id, token, wait_ms, tries, keep_ms)
  local in_progress = KEY.arq_in_progress .. job_id
  local held, holder = lease_held(in_progress, token)
  if not held then return holder and -1 or 0 end
  redis.call("ZADD", queue, now_ms + wait_ms, job_id)
  redis.call("SET", KEY.arq_retry .. job_id, tries, "PX", wait_ms + keep_ms)
  redis.call("PEXPIRE", KEY.arq_job .. job_id, wait_ms + keep_ms, "GT")
  redis.call("DEL", in_progress)
  deaths_note(job_id, 0)
  return 1
end

local answers = {}
for i, queue in ipairs(KEYS) do
  local sound, answer = pcall(retry, queue, unpack(ARGV, 5 * i - 4, 5 * i))
  answers[i] = sound and answer or tostring(answer.err or answer)
end
return answers
