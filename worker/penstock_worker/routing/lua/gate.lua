--[[
Include: the gate of a target: until when it asked to be left alone, how fast it is let come back, and the limits
on what it is sent.

A hash:
  not_before  the moment before which nothing is sent, ms
  throttles   closings in a row without a success between
  ramp_at     the moment of the last reopening: RULE.ramp ms from it on calls start one by one, faster and faster
  line_at     the moment at which the next call may start, as far as ramp and requests per minute go
  tokens_at   the same for tokens per minute
  late_at     the moment at which the next looks again that came when the line was full
  slots_at    a guess at the moment when a slot is free for the next that waits
  took        mean duration of a call, ms
  gen         raised by each closing: places handed out before are void
and, where the provider's headers said that little is left of a limit,
  gap, gap_until              ms between two calls, and until when that holds
  token_gap, token_gap_until  the same for tokens
  quiet_at    the moment before which nothing is left
and, with a limit on calls in flight, a sorted set beside it: call id -> the moment at which its slot is free again
though nobody has said so.

A place is "<gen> <ms> <target>", kept in the job's record: a moment in the line that is this job's own. Whoever
comes without one joins the end. RULE and LIMITS are pasted ahead. The rates are those of the generic cell rate
algorithm (ITU-T I.371, annex A): one moment instead of a bucket to be filled.
]]
-- include: keys

local MINUTE_MS, BURST_MS, GATE_KEPT_MS, FIRST_PER_S, EARLY_MS = 60000, 1000, 3600000, 5, 5
local THROTTLE_MS, MAX_THROTTLE_MS, SLOT_CHECK_MS = 1000, 60000, 50
local FIRST_TOOK_MS, SLOT_LINE_CALLS, SLOT_LINE_MS, MAX_SLOT_LINE_MS = 100, 20, 5000, 30000
local LINE_MS, LATE_GAP_MS = 60000, 5
local LOW, FEW, BELIEVED_MS = 0.5, 10, 60000

local function gate_limits(target)
  return LIMITS[string.match(target, "^[^/]+")] or {}
end

local function gate_read(target, now)
  local row = redis.call("HMGET", KEY.gate .. target, "not_before", "ramp_at", "line_at", "tokens_at", "gen", "took",
    "slots_at", "gap", "gap_until", "token_gap", "token_gap_until", "quiet_at")
  local gate = {key = KEY.gate .. target, slots = KEY.slots .. target, limits = gate_limits(target), gen = row[5] or "0"}
  gate.not_before, gate.ramp_at, gate.line_at = tonumber(row[1]) or 0, tonumber(row[2]), tonumber(row[3]) or 0
  gate.tokens_at, gate.took, gate.slots_at = tonumber(row[4]) or 0, tonumber(row[6]), tonumber(row[7]) or 0
  gate.ramps = gate.ramp_at ~= nil and now < gate.ramp_at + RULE.ramp
  gate.learned = (row[8] or row[10] or row[12]) and true or false
  if row[9] and now < tonumber(row[9]) then gate.gap, gate.gap_until = tonumber(row[8]), tonumber(row[9]) end
  gate.token_gap = gate.limits.tokens_per_min and MINUTE_MS / gate.limits.tokens_per_min
  if row[11] and now < tonumber(row[11]) then gate.token_gap = math.max(gate.token_gap or 0, tonumber(row[10])) end
  gate.quiet_at = tonumber(row[12]) or 0
  local paced = gate.limits.requests_per_min ~= nil or gate.gap ~= nil
  gate.in_line = gate.ramps or paced
  gate.slack = (paced and not gate.ramps) and BURST_MS or 0
  return gate
end

-- Between a call that starts at this moment and the next.
local function gate_gap(gate, at)
  local since = gate.ramp_at and math.max(0, math.min(RULE.ramp, at - gate.ramp_at)) or RULE.ramp
  local gap = 1000 / (FIRST_PER_S * 2 ^ (since / 1000))
  local per_min = gate.limits.requests_per_min
  if per_min then gap = math.max(gap, MINUTE_MS / per_min) end
  if gate.gap and at < gate.gap_until then gap = math.max(gap, gate.gap) end
  return gap
end

local function gate_has_place(gate, target, place, now)
  if not place then return false end
  local gen, at, whose = string.match(place, "^(%d+) (%d+) (.+)$")
  return whose == target and gen == gate.gen and now + EARLY_MS >= tonumber(at)
end

-- The moment from which one more call may start, and the code of what it waits for; a moment that is not after now
-- lets it through. A probe waits in no line. Frees slots whose time is over, and writes nothing else.
local function gate_ask(gate, placed, probe, now)
  local at, why = gate.not_before, "gate_closed"
  local free = placed or probe
  if gate.quiet_at > at then at, why = gate.quiet_at, "limit_reached" end
  if not free and gate.in_line and gate.line_at - gate.slack > at then
    at, why = gate.line_at - gate.slack, gate.ramps and "gate_closed" or "limit_reached"
  end
  if not free and gate.token_gap and gate.tokens_at - BURST_MS > at then
    at, why = gate.tokens_at - BURST_MS, "limit_reached"
  end
  if at > now or not gate.limits.max_in_flight then return at, why end
  redis.call("ZREMRANGEBYSCORE", gate.slots, "-inf", now)
  if redis.call("ZCARD", gate.slots) < gate.limits.max_in_flight then return at, why end
  return now + SLOT_CHECK_MS, "limit_reached"
end

local function gate_keep(gate, now)
  redis.call("PEXPIREAT", gate.key, math.ceil(math.max(now, gate.not_before, gate.line_at, gate.tokens_at) + GATE_KEPT_MS))
end

local function gate_spend(gate, at, tokens)
  if gate.in_line or at >= gate.line_at then gate.line_at = math.max(gate.line_at, at) + gate_gap(gate, at) end
  if gate.token_gap then gate.tokens_at = math.max(gate.tokens_at, at) + tokens * gate.token_gap end
  redis.call("HSET", gate.key, "line_at", gate.line_at, "tokens_at", gate.tokens_at)
end

-- Let a call through. One that has a place has paid for it already.
local function gate_take(gate, id, tokens, placed, lease_ms, now)
  local limits = gate.limits
  if not placed and (gate.in_line or gate.token_gap) then
    gate_spend(gate, now, tokens)
    gate_keep(gate, now)
  end
  if limits.max_in_flight then
    redis.call("ZADD", gate.slots, now + lease_ms, id)
    redis.call("PEXPIRE", gate.slots, lease_ms)
  end
end

-- The next moment at which a slot may be free, so that those who wait come back about as fast as slots are freed.
-- It is a guess, so the line is kept short: beyond the time of some calls it begins at the front again.
local function gate_slot_guess(gate, now)
  local took = gate.took or FIRST_TOOK_MS
  local step = 0.8 * took / gate.limits.max_in_flight
  local at = math.max(gate.slots_at, now + SLOT_CHECK_MS)
  local longest = math.max(SLOT_LINE_MS, math.min(MAX_SLOT_LINE_MS, SLOT_LINE_CALLS * took))
  if at > now + longest then at = now + SLOT_CHECK_MS end
  redis.call("HSET", gate.key, "slots_at", at + step)
  return at
end

-- A line of more than a minute is not made longer. Whoever comes then is told to look again before its end, and has no
-- place: so a tenant that comes late shares the next minute with the others, and stands behind nobody's flood.
local function gate_late(gate, opens_at)
  local least, most = opens_at + LINE_MS / 2, opens_at + LINE_MS
  local at = math.max(tonumber(redis.call("HGET", gate.key, "late_at")) or 0, least)
  if at > most then at = least end
  redis.call("HSET", gate.key, "late_at", at + LATE_GAP_MS)
  return math.ceil(at)
end

-- Give a job a place in the line, not before at, of a target that opens at opens_at. Returns when it is its turn, ms,
-- and the place; nil when the line is full, and the job has to look again then.
local function gate_place(gate, target, at, opens_at, tokens, now)
  local full = gate.limits.max_in_flight and redis.call("ZCARD", gate.slots) >= gate.limits.max_in_flight
  if full and at <= now + SLOT_CHECK_MS then at = gate_slot_guess(gate, now) end
  at = math.ceil(math.max(at, gate.line_at - gate.slack))
  if at - opens_at > LINE_MS then return gate_late(gate, opens_at), nil end
  gate_spend(gate, at, tokens)
  gate_keep(gate, now)
  return at, gate.gen .. " " .. string.format("%.0f", at) .. " " .. target
end

-- Begin anew at this moment, slowly. All places are void.
local function gate_ramp(gate, at)
  gate.ramp_at, gate.line_at, gate.tokens_at = at, at, at
  redis.call("HSET", gate.key, "ramp_at", at, "line_at", at, "tokens_at", at)
  redis.call("HINCRBY", gate.key, "gen", 1)
end

-- Close for wait_ms; without it, or with none, for a second, and twice as long each time that it follows on another.
-- Many who are told so at once close it once; the longest wait counts.
local function gate_hold(gate, wait_ms, now)
  local open = now >= gate.not_before
  local throttles = tonumber(redis.call("HGET", gate.key, "throttles")) or 0
  if open then
    throttles = redis.call("HINCRBY", gate.key, "throttles", 1)
  end
  if wait_ms <= 0 then wait_ms = math.min(MAX_THROTTLE_MS, THROTTLE_MS * 2 ^ math.min(throttles - 1, 10)) end
  local at = math.ceil(now + wait_ms)
  if at <= gate.not_before then return end
  gate.not_before = at
  redis.call("HSET", gate.key, "not_before", at)
  if open then
    gate_ramp(gate, at)
  else
    gate.line_at = math.max(gate.line_at, at)
    redis.call("HSET", gate.key, "ramp_at", at, "line_at", gate.line_at)
  end
  gate_keep(gate, now)
end

-- Take in the end of a call that took took_ms (-1: not known) and more or fewer tokens than it counted with.
local function gate_return(gate, id, well, more_tokens, took_ms, now)
  local limits = gate.limits
  if limits.max_in_flight then
    redis.call("ZREM", gate.slots, id)
    if took_ms >= 0 then redis.call("HSET", gate.key, "took", (gate.took or took_ms) * 0.8 + took_ms * 0.2) end
  end
  if gate.token_gap and more_tokens ~= 0 then
    gate.tokens_at = gate.tokens_at + more_tokens * gate.token_gap
    redis.call("HSET", gate.key, "tokens_at", gate.tokens_at)
  end
  if limits.max_in_flight or gate.token_gap then gate_keep(gate, now) end
  if well and gate.not_before > 0 and now >= gate.not_before then redis.call("HDEL", gate.key, "throttles") end
end

-- One limit of which so much is left, and which is whole again in so long (ms). Returns the gap that makes it last;
-- nothing when enough is left, or when it was not said.
local function gate_gap_of(left, limit, whole_ms)
  if left <= 0 or whole_ms <= 0 then return nil end
  local low = limit > 0 and left < LOW * limit or limit <= 0 and left < FEW
  return low and whole_ms / left or nil
end

-- Take in what a response's headers told of limits: left, limit and ms until it is whole, of requests and of tokens, -1
-- for what was not said. Where less than half is left, what is left is spread over the time until there is more: so
-- does a limit of fixed windows last, and one that fills all the time comes to rest at its full rate. Nothing is
-- believed for longer than a minute.
local function gate_learn(gate, told, now)
  local gap = gate_gap_of(told[1], told[2], told[3])
  local token_gap = gate_gap_of(told[4], told[5], told[6])
  local quiet_ms = math.max(told[1] == 0 and told[3] or 0, told[4] == 0 and told[6] or 0)
  if gate.gap and gate.line_at - now <= gate.gap and gate.line_at - now > (gap or 0) then -- nobody stands in line
    redis.call("HSET", gate.key, "line_at", math.floor(now + (gap or 0)))
  end
  if not (gap or token_gap or quiet_ms > 0) then
    if gate.learned then redis.call("HDEL", gate.key, "gap", "gap_until", "token_gap", "token_gap_until", "quiet_at") end
    return
  end
  if gap then redis.call("HSET", gate.key, "gap", gap, "gap_until", now + math.min(BELIEVED_MS, told[3])) end
  if token_gap then
    redis.call("HSET", gate.key, "token_gap", token_gap, "token_gap_until", now + math.min(BELIEVED_MS, told[6]))
  end
  redis.call("HSET", gate.key, "quiet_at", math.floor(now + math.min(BELIEVED_MS, quiet_ms)))
  gate_keep(gate, now)
end
