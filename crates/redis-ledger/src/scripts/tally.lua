-- Counts one shard at one moment, and forgets entries of records that expired.
-- KEYS: 1 due:urgent, 2 due:cadence, 3 dead, 4-10 state:unpaid to state:refunded. ARGV: 1 the server's time in ms.
-- Answer: pending orders, dead letters, then the orders of each state.
local call = redis.call
local now = ARGV[1]
local TRIM_MAX = 256
local counts = { call('ZCARD', KEYS[1]) + call('ZCARD', KEYS[2]), call('HLEN', KEYS[3]) }
for state = 4, 10 do
  local old = call('ZRANGEBYSCORE', KEYS[state], '-inf', now, 'LIMIT', 0, TRIM_MAX)
  if #old > 0 then
    call('ZREM', KEYS[state], unpack(old))
  end
  -- Whatever has a due time has no end: it is in a due set, and not pending.
  counts[1] = counts[1] - call('ZCOUNT', KEYS[state], '+inf', '+inf')
  counts[state - 1] = call('ZCOUNT', KEYS[state], '(' .. now, '+inf')
end
return counts
