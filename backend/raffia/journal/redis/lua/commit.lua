#!lua
-- Replace entries by a snapshot that has been written before: the one atomic step of a compaction.
-- KEYS: meta, log, base snapshots, segments, then blobs to keep, then blobs to drop
-- ARGV: format, fence, id that the snapshot before goes up to ('0-0' for none), upto, folded_ms, snapshot_bytes, bytes of
--       the folded updates, base snapshot, '1' when the one before stays, publish command, channel, replica, now_ms, ms for which
--       folded entries and dropped blobs stay, number of blobs to keep, number of segments to add, number of segments to drop,
--       then for each to add: window_ms, member, bytes; then for each to drop: member, bytes
-- Returns: 'ok' | 'stale' | 'deleted' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'fence', 'folded', 'snapshot_bytes', 'trim_to', 'tail_bytes')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if meta[2] then return {'deleted'} end
local before, upto = ARGV[3], ARGV[4]
if meta[3] ~= ARGV[2] or (meta[4] or '0-0') ~= before then return {'stale'} end
-- The entry has to be of this lineage of the log: after a loss another one may be in its place.
if #redis.call('XRANGE', KEYS[2], upto, upto, 'COUNT', 1) == 0 then return {'stale'} end
local keep, add, drop = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])
for i = 5, 4 + keep do
  if redis.call('EXISTS', KEYS[i]) == 0 then return {'stale'} end
end
local history = 0
for i = 5, 4 + keep do redis.call('PERSIST', KEYS[i]) end
for i = 5 + keep, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[14]) end
local at = 18
for _ = 1, add do
  redis.call('ZADD', KEYS[4], ARGV[at], ARGV[at + 1])
  history = history + tonumber(ARGV[at + 2])
  at = at + 3
end
for _ = 1, drop do
  if redis.call('ZREM', KEYS[4], ARGV[at]) == 1 then history = history - tonumber(ARGV[at + 1]) end
  at = at + 2
end
if ARGV[9] == '1' then
  history = history + tonumber(meta[5] or '0')
elseif before ~= '0-0' then
  redis.call('HDEL', KEYS[3], before)
end
redis.call('HSET', KEYS[3], upto, ARGV[8])
local tail = math.max(0, tonumber(meta[7] or '0') - tonumber(ARGV[7]))
redis.call('HSET', KEYS[1], 'folded', upto, 'folded_ms', ARGV[5], 'snapshot_bytes', ARGV[6],
  'tail_bytes', string.format('%.0f', tail))
redis.call('HINCRBY', KEYS[1], 'history_bytes', string.format('%.0f', history))
if not meta[6] then
  redis.call('HSET', KEYS[1], 'trim_to', upto,
    'trim_due_ms', string.format('%.0f', tonumber(ARGV[13]) + tonumber(ARGV[14])))
end
redis.call(ARGV[10], ARGV[11], 'F' .. ARGV[12] .. ' ' .. upto .. '\n')
return {'ok'}
