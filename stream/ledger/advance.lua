-- Intake's progress on one source partition: each number becomes the greater of old and new.
-- KEYS source    ARGV offset, mark in ms or ''
local was = redis.call('HMGET', KEYS[1], 'offset', 'mark_ms')
if not was[1] or tonumber(ARGV[1]) > tonumber(was[1]) then redis.call('HSET', KEYS[1], 'offset', ARGV[1]) end
if ARGV[2] ~= '' and (not was[2] or tonumber(ARGV[2]) > tonumber(was[2])) then
  redis.call('HSET', KEYS[1], 'mark_ms', ARGV[2])
end
return 1
