#!lua flags=allow-oom
-- Take documents for which something is due; others find them due again only when the claim has passed.
-- KEYS: due
-- ARGV: now_ms, ms until the claim has passed, most documents
-- Returns: the documents
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
local score = string.format('%.0f', tonumber(ARGV[1]) + tonumber(ARGV[2]))
for _, document in ipairs(found) do redis.call('ZADD', KEYS[1], score, document) end
return found
