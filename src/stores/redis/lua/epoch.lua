-- Reads the epoch of the feed (lua/feed.lua). A server without it has lost its data or is new, and earlier revocations are
-- unknown: it is written then.
-- KEYS[1]  the feed
-- KEYS[2]  its epoch
-- ARGV[1]  the epoch that the caller has read before; empty for none
-- returns  the second, by Redis' own clock; 1 if data is known to have been lost before it; the time by the same clock
local second, mark = read_epoch(KEYS[1], KEYS[2], ARGV[1])
return {second, mark, now}
