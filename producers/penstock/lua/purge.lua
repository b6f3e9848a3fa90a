-- include: record
-- include: audit
--[[
Forget dead or degraded jobs: everything about them but what they cost, which stays in the ledger, and who did it,
which stays in the audit stream.

KEYS[1...] records
ARGV[1] tenant; "" for jobs of any
ARGV[2] who    ARGV[3] the action's id    ARGV[4] the newest record version that is known
ARGV[5...] for each record: job id, the run that is to be forgotten

Returns for each record
  {1}              gone
  {0, state, run}  not in such a state, or in a newer run: nothing written
  {-1}             no such job of this tenant (a repeat comes here)
  {-2}             its record cannot be read
  {-3}             its record is of a newer version
]]
local tenant_of_all, who, action, version = unpack(ARGV, 1, 4)
local now = now_ms()

local function purge(job_id, asked_run)
  local at = keys_of(job_id)
  local v, tenant, state, run, idem = unpack(redis.call("HMGET", at.record, "v", "tenant", "state", "run", "idem"))
  if not tenant or (tenant_of_all ~= "" and tenant ~= tenant_of_all) then return {-1} end
  if (tonumber(v) or 0) > tonumber(version) then return {-3} end
  if run ~= asked_run or (state ~= "dead" and state ~= "degraded") then return {0, state or "", tonumber(run) or 0} end
  local named = idem and redis.call("GET", idem)
  if named and string.match(named, "^(%S+)") == job_id then redis.call("DEL", idem) end
  for _, key in pairs(at) do redis.call("DEL", key) end
  redis.call("ZREM", KEY.state_index .. state, job_id)
  return {1}, job_id
end

local replies, done = for_each_job(5, purge)
audit("purge", who, action, "jobs", done, now)
return replies
