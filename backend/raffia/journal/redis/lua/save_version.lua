#!lua
-- Record a version whose state has been written before.
-- KEYS: meta, versions, blob
-- ARGV: format, version, its name ('1' and the text, or '0')
-- Returns: 'ok', its number | 'missing' | 'deleted' | 'gone' (the state has expired) | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'created_ms')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if meta[2] then return {'deleted'} end
if not meta[3] then return {'missing'} end
if redis.call('EXISTS', KEYS[3]) == 0 then return {'gone'} end
redis.call('PERSIST', KEYS[3])
local number = redis.call('HINCRBY', KEYS[1], 'versions', 1)
redis.call('HSET', KEYS[2], number, ARGV[2])
if string.sub(ARGV[3], 1, 1) == '1' then redis.call('HSET', KEYS[2], number .. ':name', string.sub(ARGV[3], 2)) end
return {'ok', number}
