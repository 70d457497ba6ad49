-- Reads one mirrored document with its version, as of one moment.
--
--   KEYS  1 the data key    2 the owner's mirror hash
--   ARGV  1 kind  2 encoding: hash or json
--
-- Returns {version, updated_at, telegram_id, content}, or nothing if we never mirrored it, or it is gone, or what is there
-- is too much to be ours.
local meta = fields_of(KEYS[2], ARGV[1], ARGV[1] .. ':updated_at', 'telegram_id', ARGV[1] .. ':digest')
if not meta or not meta[1] then
    return false
end
local digest = meta[4]
local type_ = redis.call('TYPE', KEYS[1]).ok
if size_of(KEYS[1], type_) > (type_ == 'hash' and 16 or 1) * LARGEST then
    return false
end
if ARGV[2] == 'json' then
    meta[4] = redis.pcall('GET', KEYS[1])
else
    meta[4] = redis.pcall('HGETALL', KEYS[1])
    if #meta[4] == 0 and digest ~= redis.sha1hex('') then    -- an empty document is no key at all
        return false
    end
end
if not meta[4] or (type(meta[4]) == 'table' and meta[4].err) then    -- gone, or of another Redis type
    return false
end
return meta
