-- Precedes lua/announce.lua and lua/epoch.lua: the epoch of the revocation feed, the second from which on the feed is complete.
-- A string of three parts: the second; 1 if the server is known to have lost data then, otherwise 0; the id of the newest entry.
-- Entries only leave the feed at its front, so a feed that ends before that id is not the one that the epoch was written for.
-- An epoch of an earlier version is the second alone.
local now = tonumber(redis.call('TIME')[1])
local NO_ENTRY = '0-0'

local function newest_entry(feed)
  local entry = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]
  return entry and entry[1] or NO_ENTRY
end

local function comes_before(a, b)
  local a_time, a_number = string.match(a, '(%d+)-(%d+)')
  local b_time, b_number = string.match(b, '(%d+)-(%d+)')
  if a_time ~= b_time then return tonumber(a_time) < tonumber(b_time) end
  return tonumber(a_number) < tonumber(b_number)
end

local function write_epoch(epoch, second, mark, newest)
  redis.call('SET', epoch, table.concat({second, mark, newest}, ' '))
end

-- Reads the epoch, and writes it first if there is none or data has been lost.
-- known    the epoch that the caller has read before, as a string; empty for none
-- returns  the second and the mark
local function read_epoch(feed, epoch, known)
  local newest = newest_entry(feed)
  -- A loss that is certain is dated two seconds later, so that no token issued in the current second counts as issued after the
  -- loss. Without an epoch, a feed with entries belongs to a version that had none, and has lost nothing: 0; one without
  -- entries is new.
  local loss = {now + 2, 1}
  local first = known ~= '' and loss or {newest == NO_ENTRY and now or 0, 0}
  -- Tried at each call, since a replica refuses it: if a replica has no new entries, something may have been revoked
  -- nevertheless.
  redis.call('SET', epoch, table.concat({first[1], first[2], newest}, ' '), 'NX')
  local second, mark, last = string.match(redis.call('GET', epoch), '^(%d+) ?(%d*) ?(%S*)$')
  second, mark, last = tonumber(second), tonumber(mark) or 0, last ~= '' and last or NO_ENTRY
  local is_other = known ~= '' and tonumber(known) ~= second and mark == 0
  local is_lost = is_other or comes_before(newest, last)
  if is_lost then second, mark = loss[1], loss[2] end
  if is_lost or newest ~= last then write_epoch(epoch, second, mark, newest) end
  return second, mark
end
