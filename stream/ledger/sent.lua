-- Drop published messages from the outbox and note how far each outgoing partition is published.
-- KEYS own out    ARGV token, through, then (topic offset) pairs
-- -> {'done'} or {'token', theirs} or {'outbox', next_out}
local own = redis.call('HMGET', KEYS[1], 'token', 'out_from', 'out_next')
local token, from, next_out = own[1] or '', tonumber(own[2] or '0'), tonumber(own[3] or '0')
if token ~= ARGV[1] then return {'token', token} end
local through = tonumber(ARGV[2])
if through >= next_out then return {'outbox', next_out} end
if through >= from then
  redis.call('LTRIM', KEYS[2], through - from + 1, -1)
  redis.call('HSET', KEYS[1], 'out_from', through + 1)
end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], 'pub:' .. ARGV[i], ARGV[i + 1]) end
return {'done'}
