#!lua flags=allow-oom
-- Drop history before a snapshot that is past the retention.
-- KEYS: meta, base snapshots, segments, then blobs to drop
-- ARGV: format, id of that snapshot, ms for which dropped blobs stay, number of base snapshots, then for each: id, bytes; then for
--       each segment: member, bytes
-- Returns: 'ok' | 'stale' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'complete_from')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then return {'stale'} end
local from = tonumber(string.match(meta[2] or '0', '^%d+'))
if tonumber(string.match(ARGV[2], '^%d+')) > from then redis.call('HSET', KEYS[1], 'complete_from', ARGV[2]) end
local freed, at = 0, 5
for _ = 1, tonumber(ARGV[4]) do
  if redis.call('HDEL', KEYS[2], ARGV[at]) == 1 then freed = freed + tonumber(ARGV[at + 1]) end
  at = at + 2
end
while at < #ARGV do
  if redis.call('ZREM', KEYS[3], ARGV[at]) == 1 then freed = freed + tonumber(ARGV[at + 1]) end
  at = at + 2
end
for i = 4, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
redis.call('HINCRBY', KEYS[1], 'history_bytes', string.format('%.0f', 0 - freed))
return {'ok'}
