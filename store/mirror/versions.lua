-- Reads a mirror hash, unless it is too large to be ours.
--
--   KEYS  1 the owner's mirror hash
--
-- Returns field, value, …
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' or size_of(KEYS[1], 'hash') > LARGEST then
    return {}
end
return redis.call('HGETALL', KEYS[1])
