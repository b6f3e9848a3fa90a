#!lua flags=allow-oom
-- include: record
-- include: lease
--[[
Write down a fact beside a call of the journal: the id under which a provider works on, or what came of a tool that the
model wanted called. The first that is written stays. A fact is not fenced unless that is asked for: what a worker that
has lost its lease did is done.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token
ARGV[3] field, "<call id>:<what it is>" or "tool:<digest>"    ARGV[4] the fact, JSON
ARGV[5] 1 to write only while the lease is held, else 0
ARGV[6] run       ARGV[7] data of a progress event to tell with it, JSON; "" for none

Returns nil: written, or the job is gone and nothing is kept of it any more
        what was written before; nothing is written or told
        0 the lease is lost, and it had to be held; nothing written
]]
local record, job_id, field = KEYS[1], ARGV[1], ARGV[3]
local journal = KEY.journal .. job_id
local before = redis.call("HGET", journal, field)
if before then return before end
local holds = lease_held(KEY.arq_in_progress .. job_id, ARGV[2])
if ARGV[5] == "1" and not holds then return 0 end
if redis.call("EXISTS", record) == 0 then return nil end
redis.call("HSET", journal, field, ARGV[4])
if holds and ARGV[7] ~= "" then tell(job_id, ARGV[6], "progress", now_ms(), ARGV[7]) end
return nil
