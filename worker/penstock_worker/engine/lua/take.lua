--[[
Include: take one due job for a worker. The script that includes it names what a claimed job is:

  start(job_id, token, now_ms, deaths) returns the payload (a string or an array); false, and optionally a wait
  in ms, to refuse the job for now; nil when there is no such job, which takes it out of the queue.

An error in start marks that one job as corrupt and stops no other.
]]
-- include: lease

local FOREIGN, TICKED = "1", "ticked" -- what stock arq writes while a job runs; what we leave of a cron tick
local FOREIGN_CHECK_MS, REFUSED_MS, SUSPECT_CHECK_MS = 2000, 2000, 500

-- How often in a row the holders of a job vanished, with this one, whose token its lease still holds; nil when it
-- holds it yet, or the tick has run. deaths is how often before.
local function vanished(queue, job_id, holder, deaths, now_ms)
  local in_progress = KEY.arq_in_progress .. job_id
  if holder == TICKED then
    redis.call("ZREM", queue, job_id)
    redis.call("DEL", KEY.arq_job .. job_id)
    return nil
  end
  local left_ms = redis.call("PTTL", in_progress)
  if holder == FOREIGN then
    deaths_note(job_id, deaths) -- it has a try counter
    redis.call("ZADD", queue, now_ms + math.max(1, math.min(left_ms, FOREIGN_CHECK_MS)), job_id)
    return nil
  end
  if left_ms > LEASE_GRACE_MS then -- it runs; if Job.abort of stock arq moved its score, move it back
    redis.call("ZADD", queue, "GT", now_ms + left_ms - LEASE_GRACE_MS, job_id)
    return nil
  end
  redis.call("DEL", in_progress)
  deaths_note(job_id, deaths + 1)
  return deaths + 1
end

-- The abort asked for this job, ms, which is thereby answered; 0 when none was.
local function abort_asked(worker, job_id)
  if not worker.aborts then return 0 end
  local at_ms = redis.call("ZSCORE", KEY.ARQ_ABORT, job_id)
  if not at_ms then return 0 end
  redis.call("ZREM", KEY.ARQ_ABORT, job_id)
  return at_ms
end

-- The worker as the scripts' common arguments from ARGV[1] on describe it.
local function claimer()
  return {
    slots = tonumber(ARGV[1]), lease_ms = tonumber(ARGV[2]), token = ARGV[3], idle = ARGV[4] == "1",
    suspect_deaths = tonumber(ARGV[5]), patience_ms = tonumber(ARGV[6]), taken = 0, alone = false, suspect = false,
    aborts = redis.call("TYPE", KEY.ARQ_ABORT).ok == "zset", deaths = redis.call("EXISTS", KEY.DEATHS) == 1,
  }
end

-- The score of a job that was asked for by name, if it may be taken: it is due, or waits to be run alone.
local function due_by_name(queue, job_id, now_ms)
  local score = redis.call("ZSCORE", queue, job_id)
  if not score then return nil end
  if tonumber(score) > now_ms and (deaths_of(job_id) or 0) == 0 then return nil end
  return score
end

-- An error that is the script's fault, not the job's, is one.
local function blame_script(message)
  if string.find(message, "nonexistent global", 1, true) then error(message) end
end

-- Lease a job whose score is due; nil when it is not to be had now. A job that died with its holder too often is
-- left for an idle worker, to be its only job: worker.suspect names it to the one worker that shall make room.
-- A lease, try counter or death counter of a foreign type reads as absent: none of them is needed to run the job.
-- Returns {id, token, try, deaths, score, abort asked at (ms, 0: not), payload, queue, why it is corrupt or ""}.
local function take(worker, queue, job_id, score, now_ms)
  local in_progress = KEY.arq_in_progress .. job_id
  local holder, counted = redis.pcall("GET", in_progress), worker.deaths and deaths_of(job_id)
  local deaths = counted or 0
  if type(holder) == "string" then
    deaths = vanished(queue, job_id, holder, deaths, now_ms)
    if not deaths then return nil end
  end
  local alone = deaths >= worker.suspect_deaths
  if alone and not (worker.idle and worker.taken == 0) then
    redis.call("ZADD", queue, now_ms + SUSPECT_CHECK_MS, job_id)
    if not worker.suspect and redis.call("SET", KEY.suspect .. job_id, worker.token, "NX", "PX", worker.patience_ms) then
      worker.suspect = { queue, job_id }
    end
    return nil
  end
  local token = worker.token .. ":" .. worker.taken
  local sound, payload, wait_ms = pcall(start, job_id, token, now_ms, deaths)
  if not sound then
    wait_ms = type(payload) == "table" and payload.err or payload
    blame_script(wait_ms)
    payload = ""
  elseif payload == nil then
    lease_release(queue, job_id)
    return nil
  elseif payload == false then
    redis.call("ZADD", queue, now_ms + (wait_ms or REFUSED_MS), job_id)
    return nil
  end
  redis.call("SET", in_progress, token, "PX", worker.lease_ms + LEASE_GRACE_MS)
  redis.call("ZADD", queue, now_ms + worker.lease_ms, job_id)
  worker.taken = worker.taken + 1
  worker.alone = alone
  local tries = 1 + (counted and tonumber(redis.pcall("GET", KEY.arq_retry .. job_id)) or 0)
  return { job_id, token, tries, deaths, score, abort_asked(worker, job_id), payload, queue, sound and "" or wait_ms }
end
