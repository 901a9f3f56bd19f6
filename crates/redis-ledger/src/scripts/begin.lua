-- Says which layout the keys have, and since when there are any, unless something says so already.
-- KEYS: 1 the layout, 2 the beginning. ARGV: 1 the layout, 2 '1' if who asks never saw these keys before.
-- Keys without a beginning are an earlier version's, which may be as old as it likes: '0'. Who saw one there knows better:
-- everything was lost, and somebody wrote the layout again.
local is_new = redis.call('SET', KEYS[1], ARGV[1], 'NX')
if redis.call('EXISTS', KEYS[2]) == 0 and redis.call('GET', KEYS[1]) == ARGV[1] then
  local began = '0'
  if is_new or ARGV[2] ~= '1' then
    local time = redis.call('TIME')
    began = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
  end
  redis.call('SET', KEYS[2], began)
end
return redis.status_reply('OK')
