-- Increments a counter, whose window begins with the first count.
-- KEYS[1]  the counter, which lives as long as its window
-- ARGV[1]  length of the window, seconds
-- returns  the count, and the milliseconds until the window ends
local counter, window = KEYS[1], tonumber(ARGV[1])
local number = redis.call('INCR', counter)
if number == 1 then
  redis.call('EXPIRE', counter, window)
end
return { number, redis.call('PTTL', counter) }
