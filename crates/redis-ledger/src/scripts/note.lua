-- Stores a note over the version that its writer read.
-- KEYS: 1 the note, 2 the names of all. ARGV: 1 expected version ('' if absent), 2 new version, 3 name, 4 text.
-- Answer: 1 if it is stored, 0 if another version is there.
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'text', ARGV[4])
redis.call('ZADD', KEYS[2], 0, ARGV[3])
return 1
