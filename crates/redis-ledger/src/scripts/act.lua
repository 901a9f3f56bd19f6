-- Stores an act under the next number and lets a few go that are too old.
-- KEYS: 1 the acts. ARGV: 1 the act, 2 its time, 3 the time before which an act may go.
-- Answer: the number.
local number = redis.call('HINCRBY', KEYS[1], 'last', 1)
redis.call('HSET', KEYS[1], number, ARGV[2] .. ' ' .. ARGV[1])
local first = tonumber(redis.call('HGET', KEYS[1], 'first') or '1')
for _ = 1, 16 do
  if first >= number then break end
  local old = redis.call('HGET', KEYS[1], first)
  if old and tonumber(string.match(old, '^%-?%d+')) >= tonumber(ARGV[3]) then break end
  redis.call('HDEL', KEYS[1], first, first .. ':outcome')
  first = first + 1
end
redis.call('HSET', KEYS[1], 'first', first)
return number
