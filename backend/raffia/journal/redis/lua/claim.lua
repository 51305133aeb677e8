#!lua flags=allow-oom
-- Claim documents for which something is due; for others they are not due until the claim has expired.
-- KEYS: due
-- ARGV: now_ms, ms until the claim expires, most documents
-- Returns: the documents
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
local score = string.format('%.0f', tonumber(ARGV[1]) + tonumber(ARGV[2]))
for _, document in ipairs(found) do redis.call('ZADD', KEYS[1], score, document) end
return found
