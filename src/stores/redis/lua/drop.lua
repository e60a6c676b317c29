-- Deletes fields of a hash of sessions whose ends are in the feed.
-- KEYS[1]  {user}:ending: sessions that are being ended (lua/detach.lua)
-- ARGV     the fields
-- returns  the sids of the records that existed: of several calls that finish the same end, one gets each session
local sessions, dropped = KEYS[1], {}
for _, field in ipairs(ARGV) do
  if redis.call('HDEL', sessions, field) == 1 and #field == 16 then dropped[#dropped + 1] = field end
end
return dropped
