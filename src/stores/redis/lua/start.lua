-- Starts the session of a login within the user's limit (lua/limited.lua).
-- KEYS[1]  {user}: the user's sessions
-- KEYS[2]  {user}:ending: sessions that are being ended (lua/detach.lua)
-- ARGV[1]  sid, 16 bytes
-- ARGV[2]  the address and user agent of the device
-- ARGV[3]  lifetime unless it is refreshed, seconds
-- ARGV[4]  absolute lifetime of a session, seconds
-- ARGV[5]  maximum sessions of the user
-- ARGV[6]  a random number: where this login begins to read
-- returns  {the time, sids of sessions that are marked as ended, now or before, whether KEYS[2] exists: 0 or 1}
local sessions, ending = KEYS[1], KEYS[2]
local sid, device, lifetime, absolute, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local random = ARGV[6]
return start_within_limit(sessions, ending, sid, device, lifetime, absolute, limit, random)
