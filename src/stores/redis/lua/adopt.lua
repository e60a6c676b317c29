-- Starts the session of a refresh token of another issuer within the user's limit (lua/limited.lua), unless it has been adopted
-- before. The token is generation 0.
-- KEYS[1]  {user}: the user's sessions
-- KEYS[2]  {user}:ending: sessions that are being ended (lua/detach.lua)
-- KEYS[3]  {user}:adopted:sid: exists from the adoption of the token until it expires
-- KEYS[4]  {user}:ended: when all sessions of the user were ended, if ever
-- ARGV[1]  sid, 16 bytes
-- ARGV[2]  the address and user agent of the device
-- ARGV[3]  lifetime unless it is refreshed, seconds
-- ARGV[4]  absolute lifetime of a session, seconds
-- ARGV[5]  maximum sessions of the user
-- ARGV[6]  a random number: where this adoption begins to read
-- ARGV[7]  when the token was issued; 0 if unknown
-- ARGV[8]  when the token expires
-- returns  as lua/start.lua; nil if no session was started
local sessions, ending, adopted, all_ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local sid, device, lifetime, absolute, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local random, issued_at, token_exp = ARGV[6], tonumber(ARGV[7]), ARGV[8]

if not redis.call('SET', adopted, '', 'NX', 'EXAT', token_exp) then return nil end
local ended_at = redis.call('GET', all_ended)
if ended_at and issued_at <= tonumber(ended_at) then return nil end
return start_within_limit(sessions, ending, sid, device, lifetime, absolute, limit, random)
