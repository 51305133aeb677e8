#!lua
-- Record that a replica is alive and return which are. By the server's clock, which all replicas share.
-- KEYS: replicas
-- ARGV: replica, ms after which a silent one is gone
-- Returns: the names of the replicas that are alive
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[2])))
return redis.call('ZRANGE', KEYS[1], 0, -1)
