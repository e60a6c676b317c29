-- Decides on a presented refresh token and carries the decision out: the atomic twin of decide() in src/sessions/rotation.ts,
-- which explains why.
-- KEYS[1]  {user}: the user's sessions
-- ARGV[1]  sid, 16 bytes
-- ARGV[2]  the generation presented
-- ARGV[3]  lifetime of a refresh token, seconds
-- ARGV[4]  reuse grace, seconds; 0 for none
-- ARGV[5]  1 if a refresh issues a successor
-- ARGV[6]  how long after its rotation a late retry is accepted, seconds; 0 for never
-- returns  {verdict, newest generation, its issue time, its expiry}; {verdict} if no token is issued: one of decide's, or
--          `ended` for a session that is marked as ended (lua/revoke.lua)
local sessions = KEYS[1]
local sid, presented, lifetime, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local rotates, late_retry = ARGV[5] == '1', tonumber(ARGV[6])

local record = redis.call('HGET', sessions, sid)
if not record then return {'unknown'} end
local generation, rotated_at, created_at, absolute_exp, expires_at, anchor_generation, anchor_at, last_used_at,
  second_at, third_at, fourth_at, late_generation = read_record(record)
if now >= expires_at then return {'unknown'} end
if generation == ENDED then return {'ended'} end

local function in_grace()
  if grace == 0 then return false end
  local superseded_at = ({rotated_at, second_at, third_at, fourth_at})[generation - presented]
  if superseded_at and now - superseded_at <= grace then return true end
  return presented >= anchor_generation and now - anchor_at <= grace
end

local function is_late()
  if not rotates or presented ~= generation - 1 or now - rotated_at > late_retry or late_retry == 0 then return false end
  return late_generation == 0 or late_generation == generation or generation - late_generation >= 8
end

local verdict
if presented < generation then
  if in_grace() then
    verdict = 'retried'
  elseif is_late() then
    verdict, late_generation = 'late', generation
  else
    mark_ended(sessions, sid, record)
    return {'reused'}
  end
else
  verdict = presented > generation and 'recovered' or rotates and 'rotated' or 'current'
end
if presented >= generation and not rotates then
  generation = presented
  if presented > 0 then late_generation = presented + 1 end
elseif presented >= generation then
  if now - anchor_at > grace then
    anchor_generation, anchor_at = presented, now
  end
  if verdict == 'rotated' then
    local predecessor_at = late_generation == generation and last_used_at or rotated_at
    second_at, third_at, fourth_at = predecessor_at, second_at, third_at
  else
    second_at, third_at, fourth_at = 0, 0, 0
  end
  generation, rotated_at = presented + 1, now
  expires_at = math.min(now + lifetime, absolute_exp)
end

redis.call('HSET', sessions, sid,
  struct.pack(FORMAT, generation, rotated_at, created_at, absolute_exp, expires_at, anchor_generation, anchor_at, now,
    second_at, third_at, fourth_at, late_generation))
keep_until(sessions, expires_at)
return {verdict, generation, rotated_at, expires_at}
