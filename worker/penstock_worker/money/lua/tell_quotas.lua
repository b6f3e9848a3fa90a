-- include: keys
--[[
Tell the quotas of a worker's configuration to all producers, in the place of those that were told before.

ARGV[2i-1] scope    ARGV[2i] its quota, JSON

Returns how many there are now
]]
redis.call("DEL", KEY.QUOTAS)
return redis.call("HSET", KEY.QUOTAS, unpack(ARGV))
