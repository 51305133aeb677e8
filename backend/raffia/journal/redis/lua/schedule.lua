#!lua flags=allow-oom
-- Record when something is due next, unless that was changed since the claim.
-- KEYS: due
-- ARGV: document, the claim's time, the next time ('' for never)
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
