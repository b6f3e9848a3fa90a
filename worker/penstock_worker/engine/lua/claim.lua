#!lua flags=allow-oom
--[[
Lease due jobs of one arq queue.

KEYS[1] queue    sorted set: job id -> time from which it may run, ms
ARGV[1] slots    most jobs to take
ARGV[2] lease_ms
ARGV[3] token    random; the lease token of the i-th job is "<token>:<i>", from 0
ARGV[4] idle     1 when the worker runs nothing, so that it may take a job that has to be alone
ARGV[5] deaths   from which on a job has to be alone
ARGV[6] patience how long one worker may make room for such a job before another is asked to, ms
ARGV[7…] ids     take these and no others; none: take what is due, earliest first

Returns {now, ms; when the next job is due, ms, -1 with none; jobs left in the queue;
         {queue, id} of a job that this worker shall make room for, or {}; 1 when the job taken must be alone;
         the jobs, as in take.lua; 0}
]]
-- include: take

local queue = KEYS[1]
local worker = claimer()
local time = redis.call("TIME")
-- Rounded up: stock producers round theirs to the nearest ms, and what one has just queued is due now, not in 1 ms.
local now_ms = time[1] * 1000 + math.ceil(time[2] / 1000)
local jobs = {}

local function try(job_id, score)
  if #jobs < worker.slots and not worker.alone then jobs[#jobs + 1] = take(worker, queue, job_id, score, now_ms) end
end

for i = 7, #ARGV do
  local score = due_by_name(queue, ARGV[i], now_ms)
  if score then try(ARGV[i], score) end
end

local rounds = #ARGV > 6 and 0 or 3 -- each round passes over the jobs that the one before put off
while rounds > 0 and #jobs < worker.slots and not worker.alone do
  local want = worker.slots - #jobs
  local due = redis.call("ZRANGE", queue, "-inf", now_ms, "BYSCORE", "LIMIT", 0, want, "WITHSCORES")
  for i = 1, #due, 2 do try(due[i], due[i + 1]) end
  rounds = #due == 2 * want and rounds - 1 or 0
end

local head = redis.call("ZRANGE", queue, 0, 0, "WITHSCORES")
return {
  now_ms, head[2] or -1, redis.call("ZCARD", queue), worker.suspect or {}, worker.alone and 1 or 0, jobs, 0,
}
