#!lua
-- Take the lease of a compaction, with a fencing number larger than any before.
-- KEYS: meta, lease
-- ARGV: format, replica, time to live in ms
-- Returns: 'ok', fence | 'held' | 'missing' | 'deleted' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'created_ms')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if meta[2] then return {'deleted'} end
if not meta[3] then return {'missing'} end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[2] then return {'held'} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {'ok', redis.call('HINCRBY', KEYS[1], 'fence', 1)}
