-- Takes a try from a guess budget or returns one: decideTry of src/passwords/guessing.ts. Uses Redis' own clock.
-- KEYS[1]  guesses:…: when the budget is full again, in fractional seconds; absent if it is full
-- ARGV[1]  tries of a full budget
-- ARGV[2]  how long an exhausted budget takes to be full again, seconds
-- ARGV[3]  1 takes a try, -1 returns one
-- returns  0 on success; otherwise the seconds until a try is available
local guesses = KEYS[1]
local tries, window, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])

-- It cannot be further ahead than one window (plus a second for rounding), unless the clock was set back.
local stored = tonumber(redis.call('GET', guesses) or 0)
if stored > now + window + 1 then stored = 0 end
local whole_at = math.max(stored, now) + amount * window / tries
local wait = math.ceil(math.floor((whole_at - now - window) * 1000) / 1000)
if amount > 0 and wait > 0 then return wait end
-- A full budget needs no key. It expires at once, so that refused guesses leave no keys behind.
if whole_at <= now then
  redis.call('SET', guesses, '0', 'PX', 1)
  return 0
end
redis.call('SET', guesses, string.format('%.17g', whole_at), 'EX', math.max(math.ceil(whole_at - now), 1))
return 0
