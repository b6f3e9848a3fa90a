-- include: record
-- include: queue
-- include: budget
-- include: quota
--[[
Accept a job: look its idempotency key up, check the bounds on jobs and memory, hold what it may cost at most in every
budget that refuses jobs it has no room for, write record, queue entry and event.

How full Redis' memory is, is asked at most a hundred times a second, by whichever call comes first; the answer is kept in the
hash that is read for the number of open jobs anyway.

KEYS[1] record
KEYS[2] idempotency key, or "" for none
KEYS[3] queue, or its level for the job's priority
ARGV[1] job id    ARGV[2] request, JSON     ARGV[3] fingerprint of the request
ARGV[4] tenant    ARGV[5] lane    ARGV[6] task
ARGV[7] delay, ms                  ARGV[8] deadline, ms from now; 0 for none
ARGV[9] bound on open jobs
ARGV[10] idempotency window after the end, ms
ARGV[11] retention, ms             ARGV[12] retention of a dead letter, ms
ARGV[13] bound on Redis' memory, thousandths of maxmemory
ARGV[14] user; "" for none
ARGV[15] the most its calls may cost, nano-USD, -1 for no bound    ARGV[16] the same for tokens
ARGV[17] the cap of one answer that it asks for, tokens; 0 for none

Returns {1, job id}  accepted, or accepted before under this very id (a repeat changes nothing)
        {0, job id}  the key is known with the same request: the job it names
        {2, job id}  the key is known with another request; nothing written
        {3, open}    as many jobs are open as the bound allows; nothing written
        {5, scope, ms, at, ever}  a budget has no room, for so long, until then (ms); ever 0: it never has; nothing written
        {6, scope, kind, limit, ms}  over a quota, for so long, -1: for ever; nothing written
        {4, used}    so many thousandths of maxmemory are used, which is over the bound; nothing of the job written
]]
local MEASURED_MS = 10 -- a flood of 100 MB/s goes 1 MB beyond the bound; a look takes 5 us

-- Memory in use, thousandths of maxmemory; 0 without one, and for a user that may not ask.
local function memory_used()
  local info = redis.pcall("INFO", "memory")
  if type(info) ~= "string" then return 0 end
  local used, most = string.match(info, "used_memory:(%d+)"), string.match(info, "maxmemory:(%d+)")
  if not used or not most or tonumber(most) == 0 then return 0 end
  return math.floor(1000 * used / most)
end

-- What a job may come to at most, nano-USD and tokens: its own bound, else that of one call of its task, as workers tell
-- it. A job of which nothing is known needs the least there is: it is refused when nothing is left.
local function need_of(task, request)
  local cost, tokens = tonumber(ARGV[15]), tonumber(ARGV[16])
  if cost >= 0 and tokens >= 0 then return cost, tokens end
  local told = redis.call("HGET", KEY.BUDGETS, "bound:" .. task)
  local bound = told and cjson.decode(told)
  if cost < 0 then cost = bound and bound[1] + math.ceil(bound[2] * #request / 1000000) or 1 end
  if tokens < 0 then tokens = bound and bound[3] + #request or 1 end
  return cost, tokens
end

local record, idem, queue = KEYS[1], KEYS[2], KEYS[3]
local job_id, request, fingerprint, tenant, lane, task = unpack(ARGV, 1, 6)
local delay_ms, deadline_ms, bound = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])

if idem ~= "" then
  local known = redis.call("GET", idem)
  if known then
    local first, same = string.match(known, "^(%S+) (%S+)$")
    if first == job_id then return {1, job_id} end
    return {same == fingerprint and 0 or 2, first}
  end
end
if redis.call("EXISTS", record) == 1 then return {1, job_id} end
local counts = redis.call("HMGET", KEY.COUNTS, "open", "memory_at", "memory")
local open, used = tonumber(counts[1] or 0), tonumber(counts[3] or 0)
if open >= bound then return {3, open} end

local now = now_ms()
if math.abs(now - (counts[2] or 0)) >= MEASURED_MS then
  used = memory_used()
  redis.call("HSET", KEY.COUNTS, "memory_at", now, "memory", used)
end
if used >= tonumber(ARGV[13]) then return {4, used} end
local user = ARGV[14] ~= "" and ARGV[14] or nil
local quotas, cap = quotas_of(tenant, user), tonumber(ARGV[17])
local budgets, hold = budget_rows({tenant = tenant, task = task, user = user}, now, "refuse"), nil
if #budgets > 0 then
  local cost, tokens = need_of(task, request)
  local full = budget_full(budgets, cost, tokens, nil, now)
  if full then
    local never = (full.limit >= 0 and cost > full.limit) or (full.tokens >= 0 and tokens > full.tokens)
    return {5, full.scope, full.ends - now, full.ends, never and 0 or 1}
  end
  hold = function() return budget_hold_job(budgets, cost, tokens) end
end
if #quotas > 0 then
  local amounts = {requests_per_min = 1, tokens_per_min = math.ceil(#request / 4) + cap}
  local over = quota_full(quotas, amounts, {request_bytes = #request, max_output_tokens = cap}, now)
  if over then return {6, unpack(over)} end
end
local due = now + delay_ms
local state = delay_ms > 0 and "scheduled" or "queued"
redis.call("SET", KEY.request .. job_id, request)
redis.call("HSET", record, "v", 1, "tenant", tenant, "lane", lane, "task", task, "state", state, "run", 1,
  "attempt", 0, "calls", 0, "created_at", now, "due_at", due,
  "idem_ms", ARGV[10], "keep_ms", ARGV[11], "keep_dead_ms", ARGV[12])
if user then redis.call("HSET", record, "user", user) end
if hold then redis.call("HSET", record, "hold", hold()) end
local _, _, priority = queue_parts(queue)
if priority ~= "" then redis.call("HSET", record, "priority", priority) end
if deadline_ms > 0 then
  redis.call("HSET", record, "deadline_ms", deadline_ms, "deadline_at", now + deadline_ms)
end
if idem ~= "" then
  redis.call("HSET", record, "idem", idem)
  redis.call("SET", idem, job_id .. " " .. fingerprint)
end
redis.call("HINCRBY", KEY.COUNTS, "open", 1)
queue_put(queue, KEY.ring .. lane, KEY.wait .. lane, tenant, job_id, due, now)
tell_state(job_id, tenant, task, 1, false, state, now, "{}")
return {1, job_id}
