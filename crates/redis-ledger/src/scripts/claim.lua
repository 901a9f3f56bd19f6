-- Says whose payment of a business order is the first: this number's, if nobody claimed before.
-- KEYS: 1 the business order. ARGV: 1 the number, 2 its life in milliseconds.
-- Answer: the number.
redis.call('HSETNX', KEYS[1], 'first', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGET', KEYS[1], 'first')
