-- The common part of the session scripts, which precedes each of them (src/stores/redis/scripts.ts).
-- A user's sessions are a hash of sid -> record and sid .. 'c' -> device: src/stores/redis/record.ts.
local FORMAT = '>I4I4I4I4I4I4I4I4I4I4I4I4'
-- In place of the generation of a session that has ended but is not yet in the revocation feed.
local ENDED = 4294967295
-- Redis' own clock, in whole seconds.
local now = tonumber(redis.call('TIME')[1])

-- All numbers of a record. The last one is missing in those of a version that granted no late retries.
local function read_record(record)
  return struct.unpack(FORMAT, #record < 48 and record .. '\0\0\0\0' or record)
end

local function mark_ended(sessions, sid, record)
  redis.call('HSET', sessions, sid, '\255\255\255\255' .. string.sub(record, 5))
end

-- The key expires with its last session.
local function keep_until(sessions, expires_at)
  if redis.call('TTL', sessions) < expires_at - now then redis.call('EXPIREAT', sessions, expires_at) end
end

local function start_session(sessions, sid, device, lifetime, absolute)
  local expires_at = now + math.min(lifetime, absolute)
  redis.call('HSET', sessions, sid, struct.pack(FORMAT, 0, now, now, now + absolute, expires_at, 0, 0, now, 0, 0, 0, 0), sid .. 'c', device)
  keep_until(sessions, expires_at)
end
