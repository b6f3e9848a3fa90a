-- include: record
--[[
Keep a row of a price table, by which calls are priced from now on: so that what they cost can be explained.

ARGV[1] its digest    ARGV[2] the row, JSON

Returns 1 kept; 0 it was there (a repeat changes nothing)
]]
return redis.call("HSETNX", KEY.PRICES, ARGV[1], string.format("%.0f ", now_ms()) .. ARGV[2])
