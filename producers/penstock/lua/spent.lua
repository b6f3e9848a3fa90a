#!lua flags=no-writes
--[[
What a run's calls cost, and what another run may: from its journal and its request, which stay where they are.

KEYS[1] journal    KEYS[2] request
ARGV[1] run

Returns {cost, nano-USD, "" when that of a call is unknown;
         the most that calls of unknown outcome may have cost besides, nano-USD;
         the most that one of its calls could have cost, nano-USD, "" when no call was made or a price is unknown;
         the job's own limit for a run, nano-USD, "" without one}
]]
local run = ARGV[1] .. "."
local cost, uncertain, most = 0, 0, nil
local fields = redis.call("HGETALL", KEYS[1])
local ends, intents = {}, {}
for i = 1, #fields, 2 do
  local call, suffix = string.match(fields[i], "^(%d+%.%d+%.%d+)(.*)$")
  if call and string.sub(call, 1, #run) == run then
    if suffix == "" then intents[call] = cjson.decode(fields[i + 1]) end
    if suffix == ":end" then ends[call] = cjson.decode(string.match(fields[i + 1], "^%S+ (.*)$")) end
  end
end
local function known(value) return type(value) == "number" and value or nil end
local priced = true
for call, intent in pairs(intents) do
  local held = known(intent.held_nanousd)
  if not held then priced = false elseif not most or held > most then most = held end
  local over = ends[call]
  if not over then
    if held then uncertain = uncertain + held else cost = nil end
  else
    uncertain = uncertain + (known(over.uncertain_nanousd) or 0)
    cost = cost and known(over.cost_nanousd) and cost + over.cost_nanousd or nil
  end
end
local text = redis.call("GET", KEYS[2])
local sound, request = pcall(cjson.decode, text or "{}")
local limit = sound and type(request) == "table" and known(request.max_cost_nanousd)
local function whole(amount) return amount and string.format("%.0f", amount) or "" end
return {whole(cost), whole(uncertain), priced and whole(most) or "", whole(limit)}
