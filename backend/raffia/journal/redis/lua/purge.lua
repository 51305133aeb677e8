#!lua flags=allow-oom
-- Reduce a deleted document to its tombstone; the caller drops the keys of its content afterwards.
-- KEYS: meta
-- ARGV: format, time before which it must have been deleted, in Unix ms
-- Returns: 'ok' | 'living' | 'later', deleted_ms | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'purged')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if not meta[2] then return {'living'} end
if not meta[3] and tonumber(meta[2]) > tonumber(ARGV[2]) then return {'later', meta[2]} end
redis.call('HSET', KEYS[1], 'purged', '1', 'snapshot_bytes', '0', 'tail_bytes', '0', 'history_bytes', '0')
redis.call('HDEL', KEYS[1], 'title', 'kind', 'schema', 'updated_by', 'folded', 'folded_ms', 'trim_to', 'trim_due_ms', 'complete_from')
return {'ok'}
