-- Shuts code out of a shelf that does not have a version yet: it refuses a `version` above its own when it takes the
-- shelf. By which one the shelf decides stays what it was. A shelf nothing was kept of has no meta, and gets none.
-- KEYS meta    ARGV the least version that may read it
local was = redis.call('HGET', KEYS[1], 'version')
if was and tonumber(was) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'version', ARGV[1])
  redis.call('HSETNX', KEYS[1], 'deciding', was)
end
return 1
