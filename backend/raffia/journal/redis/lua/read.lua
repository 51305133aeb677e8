#!lua flags=no-writes
-- Read a stretch of a log and what is known of the document, at one moment and bounded in bytes.
-- KEYS: meta, log
-- ARGV: first id ('-' for the beginning, '(' before it to leave it out), last id ('+' for the end), most entries, bytes of
--       payload after which no more are read
-- Returns: format, deleted_ms, last, floor, folded, '1' when there may be more, entries, id of the log's last entry
local meta = redis.call('HMGET', KEYS[1], 'format', 'deleted_ms', 'last', 'floor', 'folded')
local entries, begin, size, more = {}, ARGV[1], 0, '0'
local room, most = tonumber(ARGV[4]), tonumber(ARGV[3])
-- A few at a time: twice as many as went before, as long as they are small.
local step = 2
while true do
  local found = redis.call('XRANGE', KEYS[2], begin, ARGV[2], 'COUNT', step)
  for _, entry in ipairs(found) do
    entries[#entries + 1] = entry
    for i = 2, #entry[2], 2 do size = size + #entry[2][i] end
  end
  if #found < step then break end
  if #entries >= most or size >= room then
    more = '1'
    break
  end
  begin = '(' .. found[#found][1]
  if step < 16 then step = step * 2 end
end
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
return {meta[1], meta[2], meta[3], meta[4], meta[5], more, entries, newest and newest[1] or false}
