-- Writes revocations to the feed, and deletes those older than any valid access token. Uses Redis' own clock.
-- KEYS[1]  the feed, a stream of entries {sid or jti: 16 bytes}
-- KEYS[2]  the epoch of the feed: lua/feed.lua
-- ARGV[1]  how long an entry is kept, seconds
-- ARGV[2]  the type of the ids: sid or jti
-- ARGV[3]  and on: the ids, 16 bytes each
-- returns  nothing
local feed, epoch, window, kind = KEYS[1], KEYS[2], tonumber(ARGV[1]), ARGV[2]
local second, mark = read_epoch(feed, epoch, '')
local newest
for i = 3, #ARGV do
  newest = redis.call('XADD', feed, 'MINID', '~', string.format('%.0f', (now - window) * 1000), '*', kind, ARGV[i])
end
write_epoch(epoch, second, mark, newest)
