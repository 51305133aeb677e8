#!lua flags=no-writes
-- Find the names that are in one sorted set and not in another.
-- KEYS: the one, the other
-- Returns: the names
return redis.call('ZDIFF', 2, KEYS[1], KEYS[2])
