#!lua
-- Replace one damaged value by its correction, unless it has changed since it was read.
-- KEYS: the hash, sorted set or stream that holds it
-- ARGV: 'hash' | 'zset' | 'stream', the field ('' for a sorted set) or the entry's id, the value before, the value after
-- Returns: 'ok' | 'stale'
local key, place, before, after = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
if ARGV[1] == 'hash' then
  if redis.call('HGET', key, place) ~= before then return {'stale'} end
  redis.call('HSET', key, place, after)
elseif ARGV[1] == 'zset' then
  local score = redis.call('ZSCORE', key, before)
  if not score then return {'stale'} end
  redis.call('ZREM', key, before)
  redis.call('ZADD', key, score, after)
else
  -- A stream has no command to change an entry: it is written again.
  local entries, found = redis.call('XRANGE', key, '-', '+'), false
  for _, entry in ipairs(entries) do
    if entry[1] == place then
      for i = 2, #entry[2], 2 do
        if entry[2][i - 1] == 'u' and entry[2][i] == before then entry[2][i], found = after, true end
      end
    end
  end
  if not found then return {'stale'} end
  redis.call('DEL', key)
  for _, entry in ipairs(entries) do redis.call('XADD', key, entry[1], unpack(entry[2])) end
end
return {'ok'}
