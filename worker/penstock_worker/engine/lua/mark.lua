#!lua flags=allow-oom
--[[
Leave this worker's mark, and look at what was there before: whether Redis is the one that it was.

KEYS[1] generation   the name of this dataset
KEYS[2] mark         how often this worker has left its mark
ARGV[1] a name for the dataset, if it has none yet
ARGV[2] the number of this mark    ARGV[3] how long both are kept, ms

Returns {the dataset's name, the number that was there before or "", the name of the server process or ""}. A repeat
finds its own number.
]]
local name = redis.call("GET", KEYS[1])
if not name then
  name = ARGV[1]
  redis.call("SET", KEYS[1], name)
end
redis.call("PEXPIRE", KEYS[1], ARGV[3])
local before = redis.call("GET", KEYS[2])
redis.call("SET", KEYS[2], ARGV[2], "PX", ARGV[3])
local info = redis.pcall("INFO", "server")
return {name, before or "", type(info) == "string" and string.match(info, "run_id:(%x+)") or ""}
