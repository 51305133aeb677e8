#!lua flags=allow-oom
-- Remove entries from the log that were folded long enough ago. The one at `floor` stays: it identifies the lineage.
-- Only what the current snapshot covers, if that is there: a damaged number in the meta must not remove anything else.
-- KEYS: meta, log, base snapshots
-- ARGV: format, fence ('' for any), now_ms, ms for which folded entries stay, most entries for one call
-- Returns: 'ok', '1' when there is more to do now, when there will be ('' for never) | 'stale' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'fence', 'folded', 'trim_to', 'trim_due_ms', 'floor')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if meta[2] or (ARGV[2] ~= '' and meta[3] ~= ARGV[2]) then return {'stale'} end
if not meta[5] then return {'ok', '0', ''} end
if tonumber(meta[6]) > tonumber(ARGV[3]) then return {'ok', '0', meta[6]} end
if not meta[4] or redis.call('HEXISTS', KEYS[3], meta[4]) == 0 then return {'stale'} end
local covered = tonumber(string.match(meta[4], '^%d+'))
local target = math.min(tonumber(string.match(meta[5], '^%d+')), covered)
local floor = math.min(target, tonumber(meta[7] or '0') + tonumber(ARGV[5]))
redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%.0f', floor) .. '-0')
redis.call('HSET', KEYS[1], 'floor', string.format('%.0f', floor))
if floor < target then return {'ok', '1', meta[6]} end
if covered > target then
  local due = string.format('%.0f', tonumber(ARGV[3]) + tonumber(ARGV[4]))
  redis.call('HSET', KEYS[1], 'trim_to', meta[4], 'trim_due_ms', due)
  return {'ok', '0', due}
end
redis.call('HDEL', KEYS[1], 'trim_to', 'trim_due_ms')
return {'ok', '0', ''}
