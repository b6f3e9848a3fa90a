#!lua flags=allow-oom
--[[
End jobs of arq queues that are done: write their results, drop all else of them.

KEYS[i]      queue of the i-th job
ARGV, five for each job: job id; lease token; result, "" for none; how long to keep it, ms, 0 for ever;
             what to leave in place of the lease: "" nothing, else a value, "<value> <how long, ms>"

Returns for each job: 1 written; 0 nobody holds its lease: it ended before (by this very call, if repeated), or the
lease ran out; -1 someone else holds it; or the text of an error. Only 1 writes anything.
]]
-- include: lease

local function finish(queue, job_id, token, result, keep_ms, mark)
  local in_progress = KEY.arq_in_progress .. job_id
  local held, holder = lease_held(in_progress, token)
  if not held then return holder and -1 or 0 end
  if result ~= "" then
    local key = KEY.arq_result .. job_id
    if keep_ms == "0" then redis.call("SET", key, result) else redis.call("SET", key, result, "PX", keep_ms) end
  end
  lease_release(queue, job_id)
  redis.call("DEL", KEY.arq_job .. job_id)
  if mark ~= "" then
    local value, mark_ms = string.match(mark, "^(%S+) (%d+)$")
    redis.call("SET", in_progress, value, "PX", mark_ms)
  end
  return 1
end

local answers = {}
for i, queue in ipairs(KEYS) do
  local sound, answer = pcall(finish, queue, unpack(ARGV, 5 * i - 4, 5 * i))
  answers[i] = sound and answer or tostring(answer.err or answer)
end
return answers
