-- Takes a try from a budget of guesses, or gives one back: decideTry of src/passwords/guessing.ts. The clock is Redis'
-- own.
-- KEYS[1]  guesses:…: when the budget is whole again, in seconds with a fraction; absent when it is
-- ARGV[1]  tries of a whole budget
-- ARGV[2]  how long a spent one takes to be whole again, seconds
-- ARGV[3]  1 takes a try, -1 gives one back
-- returns  0 when that was done; otherwise how many seconds it takes until there is a try
local guesses = KEYS[1]
local tries, window, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])

-- Further away than one window, by a second since sums of fractions may come out a little too large, it cannot be: the
-- clock was set back.
local stored = tonumber(redis.call('GET', guesses) or 0)
if stored > now + window + 1 then stored = 0 end
local whole_at = math.max(stored, now) + amount * window / tries
local wait = math.ceil(math.floor((whole_at - now - window) * 1000) / 1000)
if amount > 0 and wait > 0 then return wait end
-- A whole budget is as good as none. It expires at once, so that refused guesses leave no keys behind.
if whole_at <= now then
  redis.call('SET', guesses, '0', 'PX', 1)
  return 0
end
redis.call('SET', guesses, string.format('%.17g', whole_at), 'EX', math.max(math.ceil(whole_at - now), 1))
return 0
