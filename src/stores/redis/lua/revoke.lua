-- Marks sessions as ended: no refresh token of theirs works from now on. The mark stays until the end has been written to
-- the feed as well; whoever meets it before that finishes the work. The clock is Redis' own, in whole seconds.
-- KEYS[1]  {user}: the user's sessions, a hash of sid -> record (src/stores/redis/record.ts)
-- KEYS[2]  {user}:ended: when all sessions of the user were ended, for tokens that are adopted later (lua/adopt.lua)
-- ARGV[1]  'one' or 'others'
-- ARGV[2]  one: the sid of the session that ends, 16 bytes; others: that of the session that is kept, or empty for none
-- ARGV[3]  others: how long that time is kept, seconds; 0 is not at all
-- returns  the sids that have ended, without those that were over before
local sessions, all_ended = KEYS[1], KEYS[2]
local which, sid, memory = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local format = '>I4I4I4I4I4I4I4I4I4I4I4'

if which == 'others' and memory > 0 then redis.call('SET', all_ended, now, 'EX', memory) end
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
