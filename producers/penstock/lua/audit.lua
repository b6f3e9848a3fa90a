--[[
Include: do something by hand, to many jobs or to what is paused, and note in the audit stream who did what to which.
One entry for each call that did something.
]]
-- include: keys

local AUDITED = 100000

-- Note that names, which are "jobs" or "names", had something done to them; none: nothing to note.
local function audit(what, who, action, kind, names, now, ...)
  if #names == 0 then return end
  redis.call("XADD", KEY.AUDIT, "MAXLEN", "~", AUDITED, "*", "what", what, "who", who, "action", action, "at", now,
    "count", #names, kind, table.concat(names, " "), ...)
end

-- Do act(job id, run) for the pairs of ARGV from first on; it returns a reply and, if it did something, the job id.
-- A job whose keys hold something else stops no other: its reply is {-2}. Returns the replies and the ids.
local function for_each_job(first, act)
  local replies, done = {}, {}
  for i = first, #ARGV, 2 do
    local sound, reply, job_id = pcall(act, ARGV[i], ARGV[i + 1])
    if not sound then
      local message = type(reply) == "table" and reply.err or reply
      if not string.find(message, "WRONGTYPE", 1, true) then error(reply) end
      reply, job_id = {-2}, nil
    end
    replies[#replies + 1], done[#done + 1] = reply, job_id
  end
  return replies, done
end
