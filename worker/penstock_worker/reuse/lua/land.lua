-- include: record
-- include: queue
-- include: lease
--[[
After the call that an attempt made: keep its answer, and call those who waited for it. Without an answer the first
of them is called, to make the call in its turn.

KEYS[1] cache, "" to keep nothing      KEYS[2] flight, "" for none
ARGV[1] job id    ARGV[2] lease token
ARGV[3] the answer, JSON; "" for none
ARGV[4] how long the cache keeps it, ms    ARGV[5] how long those who were there before may take to fetch it, ms

Returns how many were called; -1 when the lease is lost, or another leads the flight: nothing written.
A repeat calls nobody twice.
]]
local cache, flight, job_id, token, answer = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
if not lease_held(KEY.arq_in_progress .. job_id, token) then return -1 end
if cache ~= "" and answer ~= "" then redis.call("SET", cache, answer, "PX", ARGV[4]) end
if flight == "" then return 0 end
if redis.call("HGET", flight, "token") ~= token then return -1 end
local waiting, now = flight .. KEY.waiting, now_ms()
local called = redis.call("ZRANGE", waiting, 0, answer == "" and 0 or -1)

-- One that waits is made due. One that is still on its way to its queue, see "reschedule", is told not to wait there.
local function call(waiter)
  local record = KEY.record .. waiter
  local state, lane, tenant, priority = unpack(redis.call("HMGET", record, "state", "lane", "tenant", "priority"))
  if state == "running" then redis.call("HSET", record, "called", 1) end
  if state ~= "scheduled" then return end
  redis.call("HSET", record, "due_at", now)
  queue_put(queue_of(lane, tenant, priority), KEY.ring .. lane, KEY.wait .. lane, tenant, waiter, now, now)
end

for _, waiter in ipairs(called) do call(waiter) end
if answer == "" then
  redis.call("DEL", flight)
else
  redis.call("HSET", flight, "landed", answer, "landed_at", now)
  redis.call("PEXPIRE", flight, ARGV[5])
  redis.call("PEXPIRE", waiting, ARGV[5])
end
return #called
