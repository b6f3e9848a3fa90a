-- include: record
--[[
Forget a dead or degraded job: everything about it but what it cost, which stays in the ledger.

KEYS[1] record
ARGV[1] job id    ARGV[2] tenant

Returns 1 gone; 0 not in such a state; -1 no such job of this tenant (a repeat comes here)
]]
local job_id = ARGV[1]
local tenant, state, idem = unpack(redis.call("HMGET", KEYS[1], "tenant", "state", "idem"))
if tenant ~= ARGV[2] then return -1 end
if state ~= "dead" and state ~= "degraded" then return 0 end
for _, key in pairs(keys_of(job_id)) do redis.call("DEL", key) end
if idem then redis.call("DEL", idem) end
redis.call("ZREM", KEY.state_index .. state, job_id)
return 1
