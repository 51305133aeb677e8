#!lua
-- Keep a revocation and tell all replicas. Of several for one subject the latest times count.
-- KEYS: revocations
-- ARGV: format, now_ms, most of its kind, field, before_ms, until_ms (0: never expires), mark, publish, channel, replica
-- Returns: 'ok' | 'full', how many of its kind there are | 'format', its number
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
  local kind = string.match(field, '^[^:]*:')
  local counter = 'count:' .. string.sub(kind, 1, -2)
  local count = tonumber(redis.call('HGET', key, counter) or '-1')
  if count < 0 then
    count = 0
    for _, one in ipairs(redis.call('HKEYS', key)) do
      if string.sub(one, 1, #kind) == kind then count = count + 1 end
    end
  end
  if count >= tonumber(ARGV[3]) then return {'full', string.format('%.0f', count)} end
  redis.call('HSET', key, counter, string.format('%.0f', count + 1))
end
redis.call('HSET', key, 'v', ARGV[1], 'mark', ARGV[7], field, string.format('%.0f %.0f', before, ends))
redis.call(ARGV[8], ARGV[9], 'R' .. ARGV[10] .. '\n')
return {'ok'}
