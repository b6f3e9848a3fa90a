#!lua flags=allow-oom
--[[
Lease due jobs of many tenants' queues, fairly: job by job the lane with the least virtual time among those that
have work, in it the tenant with the least, of that tenant the due job that has waited longest, where each step of
priority counts as STEP_MS of waiting. O(log n) for each.

Between lanes it is start-time fair queueing (Goyal, Vin, Cheng 1996): a lane starts at the later of its own
finish and the virtual time of the last start, so that one that was idle is owed nothing.

KEYS[1] lanes    sorted set: lane -> virtual finish of its last job; "*" -> virtual time of the last start
KEYS[2] paused   set of "lane:<lane>", "tenant:<tenant>"
ARGV[1…6]        as in claim.lua
ARGV[7] cap      most running jobs of a tenant over all lanes, 0 for none
ARGV[8] tenants  JSON object: tenant -> {"weight": > 0, "cap": jobs}, for those that differ from 1 and ARGV[7]
ARGV[9] spare    part of this process' slots that the jobs of one tenant and lane leave to others, 0 for none; see full
ARGV[10] held    JSON object: "<lane>:<tenant>" -> jobs that this process runs of it, for those that matter
ARGV[11] n       number of lanes served
ARGV[12…]        lane, weight > 0; n times; then queue, id: take these jobs and no others

A job whose lease ran out keeps the place that it had: it comes before all that waits in its queue.

Returns as claim.lua; in place of the jobs left: 1 when due work was left that may be taken, 0 when none; and at the
end 1 when due work was left since the slots that are free are kept for others, else 0.
]]
-- include: take

local LANES, PAUSED = KEYS[1], KEYS[2]
local PROMOTED, CHECK_MS, SKIPPED, OVERDUE = 100, 1000, 100, 100
local STEP_MS, DEFAULT_PRIORITY = 3600000, 4
local LOOKED_AT = 50
local worker = claimer()
local cap, tenants = tonumber(ARGV[7]), cjson.decode(ARGV[8])
local spare, held = tonumber(ARGV[9]), cjson.decode(ARGV[10])
local lanes, first_named = {}, 12 + 2 * ARGV[11]
local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local jobs, next_ms, overdue = {}, -1, {}
local has_levels = redis.call("EXISTS", KEY.PRIORITIES) == 1

local function sooner(at_ms)
  at_ms = tonumber(at_ms)
  if at_ms and (next_ms < 0 or at_ms < next_ms) then next_ms = at_ms end
end

local function note(job, queue)
  if not job then return end
  jobs[#jobs + 1] = job
  queue_runs(queue, job[1], now_ms + worker.lease_ms)
end

local function is_paused(lane, tenant)
  return redis.call("SISMEMBER", PAUSED, "lane:" .. lane) == 1
    or redis.call("SISMEMBER", PAUSED, "tenant:" .. tenant) == 1
end

-- Let tenants whose wait is over into the lane's ring.
local function promote(lane)
  local over = redis.call("ZRANGE", lane.wait, "-inf", now_ms, "BYSCORE", "LIMIT", 0, PROMOTED)
  for _, tenant in ipairs(over) do ring_join(lane.ring, lane.wait, tenant, now_ms) end
end

local function at_cap(tenant)
  local most = tenants[tenant] and tenants[tenant].cap or cap
  if most == 0 then return false end
  local running = 0
  for _, lane in ipairs(lanes) do
    running = running + redis.call("ZCOUNT", lane.queue .. tenant .. KEY.running, "(" .. now_ms, "+inf")
  end
  return running >= most
end

-- The levels of a tenant's queue that are not empty: priority -> key. Those that have become empty are forgotten.
local function levels_of(lane, tenant)
  if not has_levels then return {} end
  local name, left, levels = lane.name .. ":" .. tenant, "", {}
  local known = redis.call("HGET", KEY.PRIORITIES, name) or ""
  for priority in string.gmatch(known, "%d") do
    local level = lane.queue .. tenant .. KEY.level .. priority
    if redis.call("EXISTS", level) == 1 then left, levels[priority] = left .. priority, level end
  end
  if left == "" then redis.call("HDEL", KEY.PRIORITIES, name)
  elseif left ~= known then redis.call("HSET", KEY.PRIORITIES, name, left) end
  return levels
end

-- The queue or level that a job of a tenant is in, and its score; nil when it is in none.
local function place_of(lane, tenant, job_id)
  local queue = lane.queue .. tenant
  local score = redis.call("ZSCORE", queue, job_id)
  if score then return queue, tonumber(score) end
  for _, level in pairs(levels_of(lane, tenant)) do
    score = redis.call("ZSCORE", level, job_id)
    if score then return level, tonumber(score) end
  end
end

-- The jobs of a tenant whose leases have run out, in order, each with its queue and score. Looked up once for each.
local function overdue_of(lane, tenant)
  local running = lane.queue .. tenant .. KEY.running
  local found = overdue[running]
  if found then return found end
  found = {}
  for _, job_id in ipairs(redis.call("ZRANGE", running, "-inf", now_ms, "BYSCORE", "LIMIT", 0, OVERDUE)) do
    local queue, score = place_of(lane, tenant, job_id)
    if not queue then
      redis.call("ZREM", running, job_id)
    elseif score <= now_ms then
      found[#found + 1] = { queue, job_id, score }
    end
  end
  overdue[running] = found
  return found
end

-- The first job of a queue that is due, and its score; else nil, and when the first will be, nil when there is none.
local function due_head(queue)
  local head = redis.call("ZRANGE", queue, 0, 0, "WITHSCORES")
  local at_ms = tonumber(head[2])
  if at_ms and at_ms <= now_ms then return head[1], at_ms end
  return nil, at_ms
end

-- The job of a tenant to take next: its queue or level, its id, its score. Else nil, nil, and when there will be one.
local function next_job(lane, tenant)
  local first = table.remove(overdue_of(lane, tenant), 1)
  if first then return unpack(first) end
  local queue = lane.queue .. tenant
  local job_id, score = due_head(queue)
  local best, best_ms, soonest = job_id and queue, score, score
  for priority, level in pairs(levels_of(lane, tenant)) do
    local other, other_ms = due_head(level)
    soonest = math.min(soonest or other_ms, other_ms)
    local waits_since = other_ms - (priority - DEFAULT_PRIORITY) * STEP_MS
    if other and (not best or waits_since < best_ms) then
      best, best_ms, job_id, score = level, waits_since, other, other_ms
    end
  end
  if best then return best, job_id, score end
  return nil, nil, soonest
end

local function leave(lane, tenant, until_ms)
  redis.call("ZREM", lane.ring, tenant)
  if until_ms then redis.call("ZADD", lane.wait, until_ms, tenant) end
end

-- One turn of the lane's next tenant. Returns the job, if one was taken, and the weight of its tenant.
local function turn(lane, tenant)
  if string.find(tenant, "[^%w_-]") then -- no name that Penstock gives: of no tenant, and no script could be told it
    redis.call("ZREM", lane.ring, tenant)
    return nil
  end
  if redis.call("SISMEMBER", PAUSED, "tenant:" .. tenant) == 1 or at_cap(tenant) then
    leave(lane, tenant, now_ms + CHECK_MS)
    return nil
  end
  local queue, job_id, score = next_job(lane, tenant)
  if not queue then
    leave(lane, tenant, score)
    return nil
  end
  return take(worker, queue, job_id, score, now_ms), tenants[tenant] and tenants[tenant].weight or 1
end

-- Whether more than one tenant, or one in more than one lane, has work or had some within the last minutes.
local crowded
local function is_crowded()
  if crowded ~= nil then return crowded end
  local seen, count = {}, 0
  local function note_all(lane, names)
    for _, tenant in ipairs(names) do
      local name = lane.name .. ":" .. tenant
      if not seen[name] then seen[name], count = true, count + 1 end
    end
  end
  for _, lane in ipairs(lanes) do
    note_all(lane, redis.call("ZRANGE", lane.ring, 0, 1))
    note_all(lane, redis.call("ZRANGE", lane.ring .. KEY.arrivals, "+inf", now_ms - KNOWN_MS, "BYSCORE", "REV",
      "LIMIT", 0, 2))
  end
  crowded = count > 1
  return crowded
end

-- Whether a tenant has as many of this process' slots for its jobs of a lane as it may: (1 - spare) / spare times as
-- many as are free, so some always are for who comes next, and the fewer the more there are who want all. A dynamic
-- threshold (Choudhury, Hahne 1998). Who is alone may have them all.
local function is_full(lane, tenant)
  local has = spare > 0 and held[lane.name .. ":" .. tenant]
  local free = worker.slots - #jobs
  return has and free > 0 and has * spare >= free * (1 - spare) and is_crowded()
end

-- The tenant of a lane whose turn it is; nil when none that may have more has due work.
local function head_of(lane)
  if not lane.open then return nil end
  local first = redis.call("ZRANGE", lane.ring, 0, 0)[1]
  if not first or not is_full(lane, first) then return first end
  lane.kept = true
  for _, tenant in ipairs(redis.call("ZRANGE", lane.ring, 1, LOOKED_AT)) do
    if not is_full(lane, tenant) then return tenant end
  end
end

-- The lane to serve next and the virtual time of its start; nil when none has work.
local function next_lane(clock)
  local best, start
  for _, lane in ipairs(lanes) do
    local head = head_of(lane)
    lane.head = head
    local at = math.max(clock, lane.finish)
    if head and (not best or at < start) then best, start = lane, at end
  end
  return best, start
end

for i = 12, first_named - 1, 2 do
  local name = ARGV[i]
  local lane = {
    name = name, weight = tonumber(ARGV[i + 1]), ring = KEY.ring .. name, wait = KEY.wait .. name,
    queue = KEY.queue .. name .. ":", finish = tonumber(redis.call("ZSCORE", LANES, name) or 0),
    open = redis.call("SISMEMBER", PAUSED, "lane:" .. name) == 0,
  }
  lanes[#lanes + 1] = lane
  if lane.open then promote(lane) end
end

for i = first_named, #ARGV, 2 do
  local queue, job_id = ARGV[i], ARGV[i + 1]
  local wanted = #jobs < worker.slots and not worker.alone and not is_paused(queue_parts(queue))
  local score = wanted and due_by_name(queue, job_id, now_ms)
  if score then note(take(worker, queue, job_id, score, now_ms), queue) end
end

local by_name, skipped = first_named <= #ARGV, 0
local clock = tonumber(redis.call("ZSCORE", LANES, "*") or 0)
local lane, start
while not by_name and #jobs < worker.slots and not worker.alone and skipped < SKIPPED do
  lane, start = next_lane(clock)
  if not lane then break end
  local job, weight = turn(lane, lane.head)
  if job then
    note(job, job[8])
    clock, lane.finish, lane.served = start, start + 1 / lane.weight, true
    redis.call("ZINCRBY", lane.ring, 1 / weight, lane.head)
    if spare > 0 then
      local name = lane.name .. ":" .. lane.head
      held[name] = (held[name] or 0) + 1
    end
  else
    skipped = skipped + 1
  end
end

if #jobs > 0 and not by_name then redis.call("ZADD", LANES, clock, "*") end
for _, lane in ipairs(lanes) do
  if lane.served then redis.call("ZADD", LANES, lane.finish, lane.name) end
  if lane.open then sooner(redis.call("ZRANGE", lane.wait, 0, 0, "WITHSCORES")[2]) end
end
local more, kept = next_lane(clock) and 1 or 0, 0
if more == 0 then
  for _, lane in ipairs(lanes) do if lane.kept then kept = 1 end end
end
return {
  now_ms, more == 1 and now_ms or next_ms, more, worker.suspect or {}, worker.alone and 1 or 0, jobs, kept,
}
