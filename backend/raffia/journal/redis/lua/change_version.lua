#!lua
-- Rename or delete a version.
-- KEYS: meta, versions, blob
-- ARGV: format, its number, 'name' or 'drop', then its name ('1' and the text, or '0') or the ms for which its blob stays
-- Returns: 'ok' | 'missing' | 'deleted' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if meta[2] then return {'deleted'} end
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then return {'missing'} end
if ARGV[3] == 'drop' then
  redis.call('HDEL', KEYS[2], ARGV[2], ARGV[2] .. ':name')
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
elseif string.sub(ARGV[4], 1, 1) == '1' then
  redis.call('HSET', KEYS[2], ARGV[2] .. ':name', string.sub(ARGV[4], 2))
else
  redis.call('HDEL', KEYS[2], ARGV[2] .. ':name')
end
return {'ok'}
