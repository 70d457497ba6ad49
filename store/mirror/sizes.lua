-- Tells how much there is to be read of some keys.
--
--   KEYS  of each: the data key, the owner's mirror hash
--   ARGV  of each: kind, encoding ('fields': a field of the mirror hash itself is to be read)
--
-- Returns of each: -1 if it isn't there, else bytes (of a hash: all that it takes in Redis). More than a document's for
-- one that is to be looked at alone: a hash of many fields, or one whose version can't be one.
local MANY = 500
local sizes = {}
for i = 1, #KEYS, 2 do
    local type_ = redis.call('TYPE', KEYS[i]).ok
    local version = redis.pcall('HSTRLEN', KEYS[i + 1], ARGV[i])
    local size = -1
    if type(version) == 'number' and version > 20 then
        size = LARGEST + 1
    elseif ARGV[i + 1] == 'fields' then
        size = redis.pcall('HSTRLEN', KEYS[i], 'telegram_id')
        size = type(size) == 'number' and size or 0
    elseif type_ == 'hash' and redis.call('HLEN', KEYS[i]) > MANY then
        size = 16 * LARGEST
    elseif type_ ~= 'none' then
        size = size_of(KEYS[i], type_)
    end
    sizes[#sizes + 1] = size
end
return sizes
