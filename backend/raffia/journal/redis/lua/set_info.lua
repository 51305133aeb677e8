#!lua
-- Record a document's title, kind and schema; creates the document if it does not exist.
-- KEYS: meta
-- ARGV: format, now_ms, title ('1' and the text, or '0'), kind, schema (the same)
-- Returns: 'ok', whether it is listed | 'deleted' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'created_ms', 'listed')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if meta[2] then return {'deleted'} end
if not meta[3] then
  redis.call('HSET', KEYS[1], 'format', ARGV[1], 'created_ms', ARGV[2], 'updated_ms', ARGV[2])
end
for i, field in ipairs({'title', 'kind', 'schema'}) do
  local value = ARGV[i + 2]
  if string.sub(value, 1, 1) == '1' then
    redis.call('HSET', KEYS[1], field, string.sub(value, 2))
  else
    redis.call('HDEL', KEYS[1], field)
  end
end
return {'ok', meta[4] or '0'}
