-- Writes revocations into the feed, and lets go of those that no access token can outlive. The clock is Redis' own.
-- KEYS[1]  the feed, a stream of entries {id: 16 bytes}
-- ARGV[1]  how long an entry matters, seconds
-- ARGV[2]  and on: the ids, 16 bytes each
-- returns  nothing
local feed, window = KEYS[1], tonumber(ARGV[1])
local oldest = (tonumber(redis.call('TIME')[1]) - window) * 1000
for i = 2, #ARGV do
  redis.call('XADD', feed, 'MINID', '~', string.format('%.0f', oldest), '*', 'id', ARGV[i])
end
