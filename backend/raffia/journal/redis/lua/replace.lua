#!lua
-- Replace everything of a document but its versions by one snapshot, which has been written before (RMT3).
-- KEYS: meta, log, base snapshots, segments, the snapshot's blob, then blobs to drop
-- ARGV: format, last and folded as they were read ('' for none), position of the snapshot, payload of its entry, base snapshot,
--       snapshot_bytes, its time in ms, publish command, channel, replica, position before, ms for which dropped blobs stay
-- Returns: 'ok' | 'stale' | 'deleted' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'last', 'folded', 'created_ms', 'fence')
if meta[1] and (tonumber(meta[1]) or 0) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if meta[2] then return {'deleted'} end
if (meta[3] or '') ~= ARGV[2] or (meta[4] or '') ~= ARGV[3] then return {'stale'} end
if redis.call('EXISTS', KEYS[5]) == 0 then return {'stale'} end
redis.call('PERSIST', KEYS[5])
for i = 6, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[13]) end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('XADD', KEYS[2], ARGV[4], 'u', ARGV[5])
redis.call('HSET', KEYS[3], ARGV[4], ARGV[6])
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'last', ARGV[4], 'folded', ARGV[4], 'folded_ms', ARGV[8],
  'complete_from', ARGV[4], 'floor', string.match(ARGV[4], '^%d+'), 'snapshot_bytes', ARGV[7], 'tail_bytes', '0',
  'history_bytes', '0')
redis.call('HDEL', KEYS[1], 'trim_to', 'trim_due_ms')
if not meta[5] then redis.call('HSET', KEYS[1], 'created_ms', ARGV[8], 'updated_ms', ARGV[8]) end
redis.call('HSET', KEYS[1], 'fence', string.format('%.0f', (tonumber(meta[6] or '0') or 0) + 1))
redis.call(ARGV[9], ARGV[10], 'A' .. ARGV[11] .. ' ' .. ARGV[12] .. ' ' .. ARGV[4] .. '\n')
return {'ok'}
