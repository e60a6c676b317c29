-- Ends a session. The clock is Redis' own, in whole seconds.
-- KEYS[1]  {user}: the user's sessions, a hash of sid -> record (src/stores/redis/record.ts)
-- ARGV[1]  sid, 16 bytes
-- returns  1, or 0 when there was no session
local sessions = KEYS[1]
local sid = ARGV[1]
local now = tonumber(redis.call('TIME')[1])

local record = redis.call('HGET', sessions, sid)
if not record then return 0 end
redis.call('HDEL', sessions, sid, sid .. 'c')
local _, _, _, _, expires_at = struct.unpack('>I4I4I4I4I4I4I4I4', record)
return expires_at > now and 1 or 0
