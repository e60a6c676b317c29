-- Starts the session of a refresh token of another issuer, unless it has been adopted before. The token is generation 0.
-- KEYS[1]  {user}: the user's sessions
-- KEYS[2]  {user}:adopted:sid: exists from the adoption of the token until it expires
-- KEYS[3]  {user}:ended: when all sessions of the user were ended, if ever
-- ARGV[1]  sid, 16 bytes
-- ARGV[2]  the address and user agent of the device
-- ARGV[3]  lifetime of a refresh token, seconds
-- ARGV[4]  absolute lifetime of a session, seconds
-- ARGV[5]  when the token was issued; 0 if unknown
-- ARGV[6]  when the token expires
-- returns  1 if the session was started, otherwise 0
local sessions, adopted, ended = KEYS[1], KEYS[2], KEYS[3]
local sid, device, lifetime, absolute = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local issued_at, token_exp = tonumber(ARGV[5]), ARGV[6]

if not redis.call('SET', adopted, '', 'NX', 'EXAT', token_exp) then return 0 end
local ended_at = redis.call('GET', ended)
if ended_at and issued_at <= tonumber(ended_at) then return 0 end
start_session(sessions, sid, device, lifetime, absolute)
return 1
