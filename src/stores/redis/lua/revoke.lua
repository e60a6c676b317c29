-- Marks a session as ended: none of its refresh tokens works from now on. The mark stays until the end is in the feed; a call
-- that finds the mark before that completes the work.
-- KEYS[1]  {user}: the user's sessions
-- ARGV[1]  sid, 16 bytes
-- returns  1 if the session is now marked, 0 if it does not exist
local sessions, sid = KEYS[1], ARGV[1]
local record = #sid == 16 and redis.call('HGET', sessions, sid)
if not record then return 0 end
local _, _, _, _, expires_at = read_record(record)
if expires_at <= now then return 0 end
mark_ended(sessions, sid, record)
return 1
