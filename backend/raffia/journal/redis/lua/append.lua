#!lua
-- Append batches to one document, in order, all or none, and publish each. Refuses what would stand behind a gap (J20).
-- KEYS: meta, log
-- ARGV: format, id of the last entry that the sender has seen ('' for none), publish command, channel, replica, created_ms, updated_ms,
--       bytes of the updates, largest payload that is published, author of the last edit ('' for none),
--       then for each batch: nonce, payload
-- The id that the sender has seen may be 'none': append only if the document never had an entry (J24).
-- Returns: 'taken', last (J24) | 'ok', id of the last entry, whether it is listed | 'lost', last | 'behind', last | 'deleted' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'last', 'floor', 'updated_ms', 'listed')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if meta[2] then return {'deleted'} end
local last, seen = meta[3] or '0-0', ARGV[2]
local sequence = tonumber(string.match(last, '^%d+'))
if seen == 'none' then
  if meta[3] then return {'taken', last} end
  seen = ''
end
if seen ~= '' and seen ~= last then
  local seen_sequence = tonumber(string.match(seen, '^%d+'))
  if seen_sequence >= sequence then return {'lost', last} end
  if seen_sequence > 0 then
    if seen_sequence < tonumber(meta[4] or '0') then return {'behind', last} end
    if #redis.call('XRANGE', KEYS[2], seen, seen, 'COUNT', 1) == 0 then return {'lost', last} end
  end
end
for i = 11, #ARGV, 2 do
  sequence = sequence + 1
  local id = string.format('%.0f', sequence) .. '-' .. ARGV[i]
  redis.call('XADD', KEYS[2], id, 'u', ARGV[i + 1])
  local head = ARGV[5] .. ' ' .. last .. ' ' .. id .. '\n'
  if #ARGV[i + 1] > tonumber(ARGV[9]) then
    redis.call(ARGV[3], ARGV[4], 'A' .. head)
  else
    redis.call(ARGV[3], ARGV[4], 'E' .. head .. ARGV[i + 1])
  end
  last = id
end
if meta[5] then
  local updated_ms = math.max(tonumber(ARGV[7]), tonumber(meta[5]))
  redis.call('HSET', KEYS[1], 'last', last, 'updated_ms', string.format('%.0f', updated_ms), 'updated_by', ARGV[10])
else
  redis.call('HSET', KEYS[1], 'format', ARGV[1], 'last', last, 'created_ms', ARGV[6], 'updated_ms', ARGV[7],
    'updated_by', ARGV[10])
end
redis.call('HINCRBY', KEYS[1], 'tail_bytes', ARGV[8])
return {'ok', last, meta[6] or '0'}
