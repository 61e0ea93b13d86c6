-- State, position and outgoing messages of one shelf, all or none. Every check comes before the first write.
-- KEYS own place out, the sections, then one readable hash each
-- ARGV token stamp new_stamp | offset sweep | new_offset new_sweep | number of sections | body: one long argument costs
--      the client what one short one does
-- body lists, each: count u32, then count x (length u32, bytes). Per section two: field, value, ... and fields to delete;
--      outbox entries; per readable hash one: field, value, ... (an empty one deletes it)
-- -> {'done', next_out} or {'token', theirs} or {'offset' | 'sweep' | 'stamp', offset, sweep, stamp}
local own = redis.call('HMGET', KEYS[1], 'token', 'stamp', 'out_next')
local token, stamp, next_out = own[1] or '', own[2] or '', tonumber(own[3] or '0')
if token ~= ARGV[1] then return {'token', token} end
if stamp == ARGV[3] then return {'done', next_out} end  -- the answer to this very write was lost
local place = redis.call('HMGET', KEYS[2], 'offset', 'sweep')
local offset, sweep = place[1] or '-1', place[2] or ''
local wrong = offset ~= ARGV[4] and 'offset' or sweep ~= ARGV[5] and 'sweep' or stamp ~= ARGV[2] and 'stamp'
if wrong then return {wrong, offset, sweep, stamp} end

local function each(command, key, parts)  -- `unpack` of more than about 4,000 values fails, so go in pieces
  for first = 1, #parts, 4000 do
    redis.call(command, key, unpack(parts, first, math.min(first + 3999, #parts)))
  end
end

redis.call('HSET', KEYS[2], 'offset', ARGV[6], 'sweep', ARGV[7])
local body, at = ARGV[9], 1
local function take()
  local parts, count = {}, 0
  count, at = struct.unpack('>I4', body, at)
  for i = 1, count do parts[i], at = struct.unpack('>I4c0', body, at) end
  return parts
end

local sections = tonumber(ARGV[8])
for s = 1, sections do
  each('HSET', KEYS[3 + s], take())
  each('HDEL', KEYS[3 + s], take())
end
local entries = take()
each('RPUSH', KEYS[3], entries)
for r = 4 + sections, #KEYS do
  redis.call('DEL', KEYS[r])
  each('HSET', KEYS[r], take())
end
redis.call('HSET', KEYS[1], 'stamp', ARGV[3], 'out_next', next_out + #entries)
return {'done', next_out + #entries}
