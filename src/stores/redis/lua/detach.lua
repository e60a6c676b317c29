-- Ends all sessions of a user, or all but one, at once and in constant time: renames their hash, so that no refresh token finds
-- them. From there they are written to the feed and deleted step by step (src/stores/redis/sessions.ts).
-- KEYS[1]  {user}: the user's sessions
-- KEYS[2]  {user}:ending: the new name
-- KEYS[3]  {user}:ended: when all sessions of the user were ended, for tokens that are adopted later (lua/adopt.lua)
-- ARGV[1]  the sid of the session to keep, 16 bytes; empty for none
-- ARGV[2]  how long the time in KEYS[3] is kept, seconds
-- returns  1; 0 if an earlier end must be finished first
local sessions, ending, all_ended = KEYS[1], KEYS[2], KEYS[3]
local kept, memory = ARGV[1], tonumber(ARGV[2])

redis.call('SET', all_ended, now, 'EX', memory)
if redis.call('EXISTS', ending) == 1 then return 0 end
if redis.call('EXISTS', sessions) == 0 then return 1 end
redis.call('RENAME', sessions, ending)
redis.call('HDEL', ending, 'oldest')

local record = #kept == 16 and redis.call('HGET', ending, kept)
if not record then return 1 end
local generation, _, _, _, expires_at = read_record(record)
if generation == ENDED or expires_at <= now then return 1 end
redis.call('HSET', sessions, kept, record, kept .. 'c', redis.call('HGET', ending, kept .. 'c') or '')
redis.call('HDEL', ending, kept, kept .. 'c')
keep_until(sessions, expires_at)
return 1
