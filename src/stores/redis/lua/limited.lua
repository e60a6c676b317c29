-- Starts a session, and marks the user's oldest ones as ended if there are too many. Precedes the scripts that start a session
-- (src/stores/redis/scripts.ts). Reads at most about 1,200 sessions and ends at most 100, however many the user has.
-- sessions  the key of the user's sessions
-- ending    the key of sessions that are being ended (lua/detach.lua)
-- limit     maximum sessions of the user
-- random    a random number: where this login begins to read
-- returns   {the time, sids of sessions that are marked as ended, now or before, whether `ending` exists: 0 or 1}
local function start_within_limit(sessions, ending, sid, device, lifetime, absolute, limit, random)
  local live, ended = {}, {}

  -- Fields do not expire individually: expired sessions are deleted whenever they are read.
  local function look_at(fields)
    for i = 1, #fields, 2 do
      local field, record = fields[i], fields[i + 1]
      if #field == 16 then
        local generation, _, created_at, _, expires_at = read_record(record)
        if expires_at <= now then
          redis.call('HDEL', sessions, field, field .. 'c')
        elseif generation == ENDED then
          ended[#ended + 1] = field
        else
          live[#live + 1] = {sid = field, record = record, created_at = created_at, expires_at = expires_at}
        end
      end
    end
  end

  -- The field `oldest` saves a login at the limit from reading all sessions. It contains the sids of the oldest sessions, oldest
  -- first, after the time at which the first of all others expires: from then on the number of live sessions is unknown.
  local function save_oldest(first)
    local sids, others_expire = {}, now + lifetime
    for i = first, #live do
      if i < first + 64 then
        sids[#sids + 1] = live[i].sid
      else
        others_expire = math.min(others_expire, live[i].expires_at)
      end
    end
    redis.call('HSET', sessions, 'oldest', struct.pack('>I4', others_expire) .. table.concat(sids))
  end

  -- Ends the first session of `oldest`; false if that requires reading all sessions.
  local function end_oldest()
    local oldest = redis.call('HGET', sessions, 'oldest')
    local others_expire = oldest and struct.unpack('>I4', oldest) or 0
    if others_expire <= now then return false end
    for at = 5, #oldest, 16 do
      local field = string.sub(oldest, at, at + 15)
      local record = redis.call('HGET', sessions, field)
      if record then
        look_at({field, record})
        if live[1] then
          mark_ended(sessions, field, record)
          ended[1] = field
        end
        others_expire = math.min(others_expire, now + lifetime)
        redis.call('HSET', sessions, 'oldest', struct.pack('>I4', others_expire) .. string.sub(oldest, at + 16))
        return true
      end
    end
    return false
  end

  -- Ends the oldest of all sessions; of more than 1,200, the oldest of about 400 read at random.
  local function end_surplus(count)
    local from, fields_read = '0', 2400
    if count > 1200 then from, fields_read = random, 800 end
    local cursor, fields = unpack(redis.call('HSCAN', sessions, from, 'COUNT', fields_read))
    look_at(fields)
    local is_all = from == '0' and cursor == '0'
    local surplus = (is_all and #live or count) - limit + 1
    if not is_all then surplus = math.max(1, math.floor(#live * surplus / count)) end
    surplus = math.max(0, math.min(surplus, #live, 100))
    table.sort(live, function (a, b) return a.created_at < b.created_at end)
    for i = 1, surplus do
      mark_ended(sessions, live[i].sid, live[i].record)
      ended[#ended + 1] = live[i].sid
    end
    -- With few sessions, reading all of them is as fast, and the hash stays small (src/stores/redis/record.ts).
    if count > 64 then save_oldest(surplus + 1) end
  end

  local count = math.floor(redis.call('HLEN', sessions) / 2)
  if count < limit then
    if count > 64 then redis.call('HDEL', sessions, 'oldest') end
    look_at(redis.call('HSCAN', sessions, random, 'COUNT', 10)[2])
  elseif count > limit or not end_oldest() then
    end_surplus(count)
  end
  start_session(sessions, sid, device, lifetime, absolute)
  return {now, ended, redis.call('EXISTS', ending)}
end
