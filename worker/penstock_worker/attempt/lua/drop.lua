#!lua flags=allow-oom
-- include: keys
-- include: lease
--[[
End the lease on what is no job any more: a queue entry without a record, or one of a run that has ended.

KEYS[1] queue
ARGV[1] job id    ARGV[2] lease token

Returns 1 dropped; 0 the lease is lost (a repeat comes here)
]]
if not lease_held(KEY.arq_in_progress .. ARGV[1], ARGV[2]) then return 0 end
lease_release(KEYS[1], ARGV[1])
return 1
