-- The office of a periodic agent: one leader's lease, one standing plan, one book of requests and outcomes.
-- KEYS lead plan book    ARGV operation, token, ...
--   lead    ttl ms, name        -> {'ours', term} or {'theirs', ms left}
--   resign                      -> {'done'}
--   put     id, rows, body      -> {'done'}, {'lost'} or {'unfinished', id}
--   sent    id, count           -> {'done'}, {'lost'} or {'other', id}
--   note    outcome, request    -> {'done'} or {'lost'}
local lead, plan, book = KEYS[1], KEYS[2], KEYS[3]
local op, token = ARGV[1], ARGV[2]
local holder = redis.call('GET', lead)
if op == 'lead' then
  if holder == token then
    redis.call('PEXPIRE', lead, ARGV[3])
  elseif holder then
    return {'theirs', redis.call('PTTL', lead)}
  else
    redis.call('SET', lead, token, 'PX', ARGV[3])
    redis.call('HINCRBY', book, 'term', 1)
    redis.call('HSET', book, 'leader', ARGV[4])
  end
  return {'ours', tonumber(redis.call('HGET', book, 'term'))}
end
if holder ~= token then return {'lost'} end
if op == 'resign' then
  redis.call('DEL', lead)
elseif op == 'put' then
  local id, rows, sent = unpack(redis.call('HMGET', plan, 'id', 'rows', 'sent'))
  if id ~= ARGV[3] then -- else this very plan is there already: the answer was lost
    if id and tonumber(sent) < tonumber(rows) then return {'unfinished', id} end
    redis.call('DEL', plan)
    redis.call('HSET', plan, 'id', ARGV[3], 'rows', ARGV[4], 'sent', 0, 'body', ARGV[5])
  end
elseif op == 'sent' then
  local id, sent = unpack(redis.call('HMGET', plan, 'id', 'sent'))
  if id ~= ARGV[3] then return {'other', id or ''} end
  if tonumber(ARGV[4]) > tonumber(sent) then redis.call('HSET', plan, 'sent', ARGV[4]) end
elseif op == 'note' then
  redis.call('HSET', book, 'outcome', ARGV[3], 'answered', ARGV[4])
end
return {'done'}
