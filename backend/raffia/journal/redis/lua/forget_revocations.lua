#!lua
-- Drop revocations that have expired, and count the others. The mark stays: no replica has to read again because of it.
-- KEYS: revocations
-- ARGV: format, passed_ms, now_ms, kinds that expire by now_ms instead (',a,b,')
-- Returns: 'ok' | 'format', its number
local all = redis.call('HGETALL', KEYS[1])
local over, counts = {}, {}
for i = 1, #all, 2 do
  local field = all[i]
  if field == 'v' then
    if tonumber(all[i + 1]) > tonumber(ARGV[1]) then return {'format', all[i + 1]} end
  elseif field ~= 'mark' then
    local kind = string.match(field, '^[^:]*') or ''
    if kind == 'count' then
      counts[string.sub(field, 7)] = counts[string.sub(field, 7)] or 0
    else
      local ends = tonumber(string.match(all[i + 1], '^%d+ (%d+)') or '0')
      local time = string.find(ARGV[4], ',' .. kind .. ',', 1, true) and ARGV[3] or ARGV[2]
      if ends > 0 and ends <= tonumber(time) then
        over[#over + 1] = field
      else
        counts[kind] = (counts[kind] or 0) + 1
      end
    end
  end
end
for i = 1, #over do redis.call('HDEL', KEYS[1], over[i]) end
for kind, count in pairs(counts) do
  redis.call('HSET', KEYS[1], 'count:' .. kind, string.format('%.0f', count))
end
return {'ok'}
