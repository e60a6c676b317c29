-- The second in which the feed began. It is written once, so a server without it has lost its data or is new, and earlier
-- revocations are unknown. A feed without an epoch belongs to a version that had none, and has lost nothing: 0.
-- KEYS[1]  the feed
-- KEYS[2]  its epoch
-- returns  the second, by Redis' own clock, and the time by the same clock
local feed, epoch = KEYS[1], KEYS[2]
local now = tonumber(redis.call('TIME')[1])
redis.call('SET', epoch, redis.call('EXISTS', feed) == 1 and 0 or now, 'NX')
return {tonumber(redis.call('GET', epoch)), now}
