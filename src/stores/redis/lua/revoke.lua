-- Marks sessions as ended: no refresh token of theirs works from now on. The mark stays until the end has been written to
-- the feed as well; whoever meets it before that finishes the work. The clock is Redis' own, in whole seconds.
-- KEYS[1]  {user}: the user's sessions, a hash of sid -> record (src/stores/redis/record.ts)
-- ARGV[1]  'one' or 'others'
-- ARGV[2]  one: the sid of the session that ends, 16 bytes; others: that of the session that is kept, or empty for none
-- returns  the sids that have ended, without those that were over before
local sessions = KEYS[1]
local which, sid = ARGV[1], ARGV[2]
local now = tonumber(redis.call('TIME')[1])
local format = '>I4I4I4I4I4I4I4I4I4I4I4'

local ended = {}
for _, field in ipairs(which == 'one' and {sid} or redis.call('HKEYS', sessions)) do
  local record = #field == 16 and (which == 'one' or field ~= sid) and redis.call('HGET', sessions, field)
  if record then
    local _, _, created_at, absolute_exp, expires_at, _, _, last_used_at = struct.unpack(format, record)
    if expires_at > now then
      redis.call('HSET', sessions, field, struct.pack(format, 4294967295, 0, created_at, absolute_exp, expires_at, 0, 0, last_used_at, 0, 0, 0))
      ended[#ended + 1] = field
    end
  end
end
return ended
