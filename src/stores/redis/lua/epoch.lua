-- The second at which the feed began. It is written once, so a server that does not have it has lost its data, or is new: what
-- was revoked there before is not known. A feed without it is of a version that had none, and has lost nothing: 0.
-- KEYS[1]  the feed
-- KEYS[2]  its epoch
-- returns  the second, by Redis' own clock, and the time by the same clock
local feed, epoch = KEYS[1], KEYS[2]
local now = tonumber(redis.call('TIME')[1])
redis.call('SET', epoch, redis.call('EXISTS', feed) == 1 and 0 or now, 'NX')
return {tonumber(redis.call('GET', epoch)), now}
