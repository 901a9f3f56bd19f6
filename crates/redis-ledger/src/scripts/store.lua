-- Stores steps of one shard, each only where the stored bytes are those that it was decided on. Rules of orders are
-- none of its business.
--
-- KEYS: 1 due:urgent, 2 due:cadence, 3 fen, 4 dead, 5 dead:ids, 6-12 state:unpaid to state:refunded,
--       from 13 on the record of each step that has one.
-- ARGV: 1 the server's time in ms, 2 characters before the order in a record's key; then each step:
--       a plan of eight digits, and the values that the plan calls for:
--         1 has a record:         expected bytes ('' if absent), new bytes ('' to delete)
--         2 due sets to leave:    (1 urgent, 2 cadence, 3 both)
--         3 due set to be in:     score
--         4 state index to leave:
--         5 state index to be in: score
--         6 expires:              time in ms
--         7 changes of fen:       field and amount, each
--         8 has a letter:         id, expected text ('' if absent), new text
-- Answer: for each refused step its number, its record and its letter as they are stored; nothing if all is stored.
local call, byte, sub = redis.call, string.byte, string.sub
local now, tag_chars = ARGV[1], tonumber(ARGV[2])
local ZERO = 48
local TRIM_MAX = 256
local next_key, at, step, last = 13, 3, 0, #ARGV
local refused, entered = {}, {}

-- Records are read at once, and what the steps write is collected and written at once: a command costs more than what it
-- does for one step, and each is an entry of its own in the append-only file.
local read = #KEYS > 12 and call('MGET', unpack(KEYS, 13)) or {}
local written = {}
local records, adds, leaves = {}, { {}, {} }, { {}, {} }
local sums = {}

local function flush()
  -- First what needs memory: a full server then refuses the whole call.
  if #records > 0 then call('MSET', unpack(records)) end
  for lane = 1, 2 do
    if #adds[lane] > 0 then call('ZADD', KEYS[lane], unpack(adds[lane])) end
  end
  for lane = 1, 2 do
    if #leaves[lane] > 0 then call('ZREM', KEYS[lane], unpack(leaves[lane])) end
  end
  records, adds, leaves = {}, { {}, {} }, { {}, {} }
end

while at <= last do
  step = step + 1
  local has_record, due_out, due_in, state_out, state_in, expires, fen, has_letter = byte(ARGV[at], 1, 8)
  at = at + 1
  local key, stored, expected, new, due_score, state_score, expiry
  if has_record ~= ZERO then
    key, expected, new = KEYS[next_key], ARGV[at], ARGV[at + 1]
    stored = read[next_key - 12] or ''
    next_key, at = next_key + 1, at + 2
    if written[key] then
      -- An earlier step of this call changed it: that comes first.
      flush()
      stored = written[key]
    end
  end
  if due_in ~= ZERO then
    due_score = ARGV[at]
    at = at + 1
  end
  if state_in ~= ZERO then
    state_score = ARGV[at]
    at = at + 1
  end
  if expires ~= ZERO then
    expiry = ARGV[at]
    at = at + 1
  end
  local fen_at = at
  at = at + 2 * (fen - ZERO)
  local letter_at = at
  if has_letter ~= ZERO then
    at = at + 3
  end

  local buried = has_letter ~= ZERO and call('HGET', KEYS[4], ARGV[letter_at]) or ''
  if (key and stored ~= expected) or (has_letter ~= ZERO and buried ~= ARGV[letter_at + 1]) then
    local n = #refused
    refused[n + 1], refused[n + 2], refused[n + 3] = step, stored or '', buried
  else
    if key then
      written[key] = new
      if new == '' then
        call('DEL', key)
      elseif expiry then
        call('SET', key, new, 'PXAT', expiry)
      else
        local n = #records
        records[n + 1], records[n + 2] = key, new
      end
      local member = sub(key, tag_chars + 1)
      if due_in ~= ZERO then
        local add = adds[due_in - ZERO]
        local n = #add
        add[n + 1], add[n + 2] = due_score, member
      end
      if state_in ~= ZERO then
        local index = KEYS[5 + state_in - ZERO]
        call('ZADD', index, state_score, member)
        entered[index] = expiry
      end
      if due_out ~= ZERO then
        if due_out ~= ZERO + 2 then table.insert(leaves[1], member) end
        if due_out ~= ZERO + 1 then table.insert(leaves[2], member) end
      end
      if state_out ~= ZERO then
        call('ZREM', KEYS[5 + state_out - ZERO], member)
      end
      for field = fen_at, letter_at - 1, 2 do
        sums[ARGV[field]] = (sums[ARGV[field]] or 0) + tonumber(ARGV[field + 1])
      end
    end
    if has_letter ~= ZERO then
      call('HSET', KEYS[4], ARGV[letter_at], ARGV[letter_at + 2])
      call('ZADD', KEYS[5], 0, ARGV[letter_at])
    end
  end
end

flush()

-- The sum of a span that is no longer young is forgotten by whoever counts: it is none to take from.
for field, amount in pairs(sums) do
  if amount > 0 or amount < 0 and call('HEXISTS', KEYS[3], field) == 1 then
    if call('HINCRBY', KEYS[3], field, string.format('%.0f', amount)) <= 0 then
      call('HDEL', KEYS[3], field)
    end
  end
end

-- Records that expire leave their entries behind: each call that adds one removes some.
for index in pairs(entered) do
  local old = call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, TRIM_MAX)
  if #old > 0 then
    call('ZREM', index, unpack(old))
  end
end
return refused
