-- Forgets a dead letter.
-- KEYS: 1 dead, 2 dead:ids. ARGV: 1 its id. Answer: how many there were.
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
