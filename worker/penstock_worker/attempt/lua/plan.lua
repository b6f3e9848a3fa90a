-- include: lease
--[[
Keep how a job is worked on in parts, unless that is kept already: so a run stays with one plan, whatever its workers'
settings become meanwhile.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token    ARGV[3] plan, JSON

Returns the plan that is kept, JSON (a repeat answers the same); "" if the key holds something else
        false: the lease is lost, nothing written
]]
local job_id = ARGV[1]
if not lease_held(KEY.arq_in_progress .. job_id, ARGV[2]) then return false end
local kept = redis.pcall("HSETNX", KEY.parts .. job_id, "plan", ARGV[3])
if type(kept) == "table" then return "" end
return redis.call("HGET", KEY.parts .. job_id, "plan")
