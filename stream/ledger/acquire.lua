-- Take a shelf: from now on whoever held it is fenced. The same call twice is the same as once.
-- KEYS own place    ARGV token, most tokens remembered
-- -> own as a flat list, place as a flat list
local last = redis.call('HGET', KEYS[1], 'token') or ''
if last ~= ARGV[1] then
  local past = {last}
  for token in string.gmatch(redis.call('HGET', KEYS[1], 'past') or '', '[^,]+') do
    if #past < tonumber(ARGV[2]) then past[#past + 1] = token end
  end
  redis.call('HSET', KEYS[1], 'token', ARGV[1], 'past', table.concat(past, ','))
end
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
