#!lua
-- Keep a revocation and tell all replicas. Of several for one subject the latest times count.
-- KEYS: revocations
-- ARGV: format, now_ms, most, field, before_ms, until_ms (0: never expires), mark, publish, channel, replica
-- Returns: 'ok' | 'full', how many there are | 'format', its number
local key, field = KEYS[1], ARGV[4]
local format = redis.call('HGET', key, 'v')
if format and tonumber(format) > tonumber(ARGV[1]) then return {'format', format} end
local before, ends = tonumber(ARGV[5]), tonumber(ARGV[6])
local old = redis.call('HGET', key, field)
if old then
  local old_before, old_ends = string.match(old, '^(%d+) (%d+)')
  before = math.max(before, tonumber(old_before))
  old_ends = tonumber(old_ends)
  if ends == 0 or old_ends == 0 then ends = 0 else ends = math.max(ends, old_ends) end
else
  local count = redis.call('HLEN', key) - 2
  if count >= tonumber(ARGV[3]) then return {'full', string.format('%.0f', count)} end
end
redis.call('HSET', key, 'v', ARGV[1], 'mark', ARGV[7], field, string.format('%.0f %.0f', before, ends))
redis.call(ARGV[8], ARGV[9], 'R' .. ARGV[10] .. '\n')
return {'ok'}
