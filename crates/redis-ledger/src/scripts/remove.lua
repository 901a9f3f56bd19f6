-- remove
-- Forgets a dead letter, unless another occurrence was stored since it was read.
-- KEYS: 1 dead, 2 dead:ids. ARGV: 1 its id, 2 its text as it was read. Answer: 1 if it is gone, 0 if it has changed.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
