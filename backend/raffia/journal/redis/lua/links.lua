#!lua
-- Record that there is a share link of a kind, or start a new generation with no links.
-- KEYS: meta
-- ARGV: format, 'read' | 'edit' | 'reset', now_ms
-- Returns: 'ok', generation, link_read_ms, link_edit_ms | 'missing' | 'deleted' | 'format', its number
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'created_ms')
if meta[1] and tonumber(meta[1]) > tonumber(ARGV[1]) then return {'format', meta[1]} end
if meta[2] then return {'deleted'} end
if not meta[3] then return {'missing'} end
if ARGV[2] == 'reset' then
  redis.call('HINCRBY', KEYS[1], 'links_generation', 1)
  redis.call('HDEL', KEYS[1], 'link_read_ms', 'link_edit_ms')
else
  redis.call('HSETNX', KEYS[1], 'link_' .. ARGV[2] .. '_ms', ARGV[3])
end
local links = redis.call('HMGET', KEYS[1], 'links_generation', 'link_read_ms', 'link_edit_ms')
return {'ok', links[1], links[2], links[3]}
