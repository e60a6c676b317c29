-- Counts one more in a window of time that the first one begins.
-- KEYS[1]  the counter, which lives as long as its window
-- ARGV[1]  how long a window is, seconds
-- returns  how many there are, and the milliseconds until the window ends
local counter, window = KEYS[1], tonumber(ARGV[1])
local number = redis.call('INCR', counter)
if number == 1 then
  redis.call('EXPIRE', counter, window)
end
return { number, redis.call('PTTL', counter) }
