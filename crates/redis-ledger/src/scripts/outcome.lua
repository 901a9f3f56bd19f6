-- Stores what came of an act, unless that is known or the act is gone.
-- KEYS: 1 the acts. ARGV: 1 the number, 2 the outcome.
-- Answer: 1 if it is stored.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
return redis.call('HSETNX', KEYS[1], ARGV[1] .. ':outcome', ARGV[2])
