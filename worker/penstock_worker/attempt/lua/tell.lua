-- include: record
-- include: lease
--[[
Append an event that is no change of state (a delta, a step of progress) to a job's stream.

KEYS[1] record
ARGV[1] job id    ARGV[2] lease token    ARGV[3] run    ARGV[4] progress or delta    ARGV[5] data, JSON

Returns 1 told; 0 the lease is lost
]]
local job_id = ARGV[1]
if not lease_held(KEY.arq_in_progress .. job_id, ARGV[2]) then return 0 end
tell(job_id, ARGV[3], ARGV[4], now_ms(), ARGV[5])
return 1
