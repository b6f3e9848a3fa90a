-- Include: what a claimed job of an arq queue is: its payload, "" when that has expired.
-- include: keys
local function start(job_id)
  return redis.call("GET", KEY.arq_job .. job_id) or ""
end
