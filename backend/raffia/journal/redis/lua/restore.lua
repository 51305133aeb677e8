#!lua flags=allow-oom
-- Remove the tombstone.
-- KEYS: meta
-- ARGV: format
-- Returns: 'ok' | 'missing' | 'purged' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'created_ms', 'purged')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if not meta[2] then return {'missing'} end
if meta[3] then return {'purged'} end
redis.call('HDEL', KEYS[1], 'deleted_ms')
return {'ok'}
