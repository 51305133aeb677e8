#!lua flags=allow-oom
-- Set the tombstone; doing it again changes nothing.
-- KEYS: meta
-- ARGV: format, now_ms, publish command, channel, replica
-- Returns: 'ok', deleted_ms | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'created_ms')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if not meta[2] then
  if not meta[3] then
    redis.call('HSET', KEYS[1], 'format', ARGV[1], 'created_ms', ARGV[2], 'updated_ms', ARGV[2])
  end
  redis.call('HSET', KEYS[1], 'deleted_ms', ARGV[2], 'listed', '1')
end
redis.call(ARGV[3], ARGV[4], 'D' .. ARGV[5] .. '\n')
return {'ok', meta[2] or ARGV[2]}
