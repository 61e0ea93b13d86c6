-- State, position and outgoing messages of one shelf, all or none. Every check comes before the first write.
-- KEYS own place out, the sections, then one readable hash each
-- ARGV token stamp new_stamp | offset sweep | new_offset new_sweep | number of sections
--      per section:  n, n x (field value), m, m x field to delete
--      n, n x outbox entry
--      per readable hash:  n, n x (field value); n = 0 deletes it
-- -> {'done', next_out} or {'token', theirs} or {'offset' | 'sweep' | 'stamp', offset, sweep, stamp}
local own = redis.call('HMGET', KEYS[1], 'token', 'stamp', 'out_next')
local token, stamp, next_out = own[1] or '', own[2] or '', tonumber(own[3] or '0')
if token ~= ARGV[1] then return {'token', token} end
if stamp == ARGV[3] then return {'done', next_out} end  -- the answer to this very write was lost
local place = redis.call('HMGET', KEYS[2], 'offset', 'sweep')
local offset, sweep = place[1] or '-1', place[2] or ''
local wrong = offset ~= ARGV[4] and 'offset' or sweep ~= ARGV[5] and 'sweep' or stamp ~= ARGV[2] and 'stamp'
if wrong then return {wrong, offset, sweep, stamp} end

local at = 8
local function each(command, key, count)  -- `unpack` of more than about 4,000 values fails, so go in pieces
  local stop = at + count - 1
  while at <= stop do
    local last = math.min(at + 3999, stop)
    redis.call(command, key, unpack(ARGV, at, last))
    at = last + 1
  end
end
local function take() at = at + 1; return tonumber(ARGV[at - 1]) end

redis.call('HSET', KEYS[2], 'offset', ARGV[6], 'sweep', ARGV[7])
local sections = take()
for s = 1, sections do
  each('HSET', KEYS[3 + s], 2 * take())
  each('HDEL', KEYS[3 + s], take())
end
local sent = take()
each('RPUSH', KEYS[3], sent)
for r = 4 + sections, #KEYS do
  redis.call('DEL', KEYS[r])
  each('HSET', KEYS[r], 2 * take())
end
redis.call('HSET', KEYS[1], 'stamp', ARGV[3], 'out_next', next_out + sent)
return {'done', next_out + sent}
