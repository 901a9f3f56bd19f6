-- Adds a number to a business order, unless it is there; beyond the bound the oldest goes.
-- KEYS: 1 the business order. ARGV: 1 the number, 2 how many there may be, 3 its life in milliseconds.
-- Answer: 1 if it is added.
local numbers = {}
for number in string.gmatch(redis.call('HGET', KEYS[1], 'numbers') or '', '%S+') do
  if number == ARGV[1] then return 0 end
  numbers[#numbers + 1] = number
end
numbers[#numbers + 1] = ARGV[1]
while #numbers > tonumber(ARGV[2]) do table.remove(numbers, 1) end
redis.call('HSET', KEYS[1], 'numbers', table.concat(numbers, ' '))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
