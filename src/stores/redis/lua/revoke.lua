-- Marks a session as ended: no refresh token of it works from now on. The mark stays until the end has been written to the
-- feed as well; a call that meets the mark before that finishes the work.
-- KEYS[1]  {user}: the user's sessions
-- ARGV[1]  sid, 16 bytes
-- returns  1 when the session is marked now, 0 when there is no such session
local sessions, sid = KEYS[1], ARGV[1]
local record = #sid == 16 and redis.call('HGET', sessions, sid)
if not record then return 0 end
local _, _, _, _, expires_at = read_record(record)
if expires_at <= now then return 0 end
mark_ended(sessions, sid, record)
return 1
