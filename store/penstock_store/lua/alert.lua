--[[
Include: alerts, each told once in its window: as an event in the stream of all jobs, and to whoever called the script,
who logs it.
]]
-- include: keys

local ALERT_KEPT_MS = {hour = 2 * 3600000, day = 2 * 86400000, month = 62 * 86400000}
local ALERTS = {}

-- Tell code of scope, unless that was told in this window before. window is a name as of budget_window; data a table of
-- numbers and short strings, or nil.
local function alert(code, scope, window, now, data)
  local marks = KEY.alerted .. window
  if redis.call("SADD", marks, code .. " " .. scope) == 0 then return end
  redis.call("PEXPIRE", marks, ALERT_KEPT_MS[string.match(window, "^%a+")])
  redis.call("XADD", KEY.EVENTS, "MAXLEN", "~", 100000, "*", "type", "alert", "alert", code, "scope", scope,
    "window", window, "at", now, "data", data and cjson.encode(data) or "{}")
  ALERTS[#ALERTS + 1] = cjson.encode({alert = code, scope = scope, window = window})
end

-- What a script answers: reply as it is; when there are alerts to log, {"alerts", reply, alert as JSON, ...}.
local function with_alerts(reply)
  if #ALERTS == 0 then return reply end
  if reply == nil then reply = false end -- nil would end the array
  return {"alerts", reply, unpack(ALERTS)}
end
