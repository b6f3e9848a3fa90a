#!lua flags=no-writes
--[[
Read a job's record for its tenant. Another tenant's job looks exactly like none.

KEYS[1] record
ARGV[1] tenant

Returns names and values, one after the other; none when there is no such job of this tenant. A record that names
no tenant is not one of ours; it is returned too, for the reader to say so.
]]
local tenant = redis.call("HGET", KEYS[1], "tenant")
if tenant and tenant ~= ARGV[1] then return {} end
return redis.call("HGETALL", KEYS[1])
