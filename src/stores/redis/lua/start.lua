-- Starts a session. The clock is Redis' own, in whole seconds.
-- KEYS[1]  {user}: the user's sessions, a hash of sid -> record (src/stores/redis/record.ts)
-- ARGV[1]  sid, 16 bytes
-- ARGV[2]  the client's address and user agent, as the session list shows them
-- ARGV[3]  how long it lives unless it is refreshed, seconds
-- ARGV[4]  absolute lifetime of a session, seconds
-- ARGV[5]  sessions the user may have; 0 is no limit
-- ARGV[6]  a random number: where this login begins to clear away
-- returns  {the time, sids of the sessions that were marked as ended (lua/revoke.lua), for being beyond the limit or before}
local sessions = KEYS[1]
local sid, client, lifetime, absolute, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local cursor = ARGV[6]
local now = tonumber(redis.call('TIME')[1])
local format = '>I4I4I4I4I4I4I4I4I4I4I4'

-- Fields do not expire by themselves. With a limit all are looked at, since the oldest must be found; without one a
-- login looks at about twenty at random, so that its cost is bounded and those that are over stay few.
local fields = limit > 0 and redis.call('HGETALL', sessions) or redis.call('HSCAN', sessions, cursor, 'COUNT', 20)[2]
local live, ended = {}, {}
for i = 1, #fields, 2 do
  local field = fields[i]
  if #field == 16 and field ~= sid then
    local generation, _, created_at, absolute_exp, expires_at = struct.unpack(format, fields[i + 1])
    if expires_at <= now then
      redis.call('HDEL', sessions, field, field .. 'c')
    elseif generation == 4294967295 then
      ended[#ended + 1] = field
    else
      live[#live + 1] = {field, created_at, struct.pack(format, 4294967295, 0, created_at, absolute_exp, expires_at, 0, 0, now, 0, 0, 0)}
    end
  end
end

if limit > 0 and #live >= limit then
  table.sort(live, function (a, b) return a[2] < b[2] end)
  for i = 1, #live - limit + 1 do
    ended[#ended + 1] = live[i][1]
    redis.call('HSET', sessions, live[i][1], live[i][3])
  end
end

local expires_at = now + math.min(lifetime, absolute)
redis.call('HSET', sessions, sid, struct.pack(format, 0, now, now, now + absolute, expires_at, 0, 0, now, 0, 0, 0), sid .. 'c', client)
if redis.call('TTL', sessions) < expires_at - now then redis.call('EXPIREAT', sessions, expires_at) end
return {now, ended}
