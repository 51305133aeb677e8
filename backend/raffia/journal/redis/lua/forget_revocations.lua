#!lua
-- Drop revocations that have expired. The mark stays: no replica has to read again because of it.
-- KEYS: revocations
-- ARGV: format, now_ms
-- Returns: 'ok' | 'format', its number
local all = redis.call('HGETALL', KEYS[1])
local over = {}
for i = 1, #all, 2 do
  if all[i] == 'v' then
    if tonumber(all[i + 1]) > tonumber(ARGV[1]) then return {'format', all[i + 1]} end
  elseif all[i] ~= 'mark' then
    local ends = tonumber(string.match(all[i + 1], '^%d+ (%d+)') or '0')
    if ends > 0 and ends <= tonumber(ARGV[2]) then over[#over + 1] = all[i] end
  end
end
for i = 1, #over do redis.call('HDEL', KEYS[1], over[i]) end
return {'ok'}
