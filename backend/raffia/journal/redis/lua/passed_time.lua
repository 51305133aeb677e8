#!lua flags=allow-oom
-- Keep the time that has certainly passed, which a replica claims.
-- KEYS: passed time
-- ARGV: its claim in Unix ms ('' for none), '1' to keep the claim even if it is earlier
-- Returns: what is kept now ('' for nothing), the server's clock in Unix ms
local kept = redis.call('GET', KEYS[1]) or ''
local claim = ARGV[1]
if claim ~= '' and (ARGV[2] == '1' or kept == '' or tonumber(claim) > tonumber(kept)) then
  redis.call('SET', KEYS[1], claim)
  kept = claim
end
local time = redis.call('TIME')
return {kept, string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))}
