#!lua flags=allow-oom
-- Say when something is due next, unless somebody has changed it since the claim.
-- KEYS: due
-- ARGV: document, the claim's time, the next time ('' for never)
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
