-- Put before the other scripts: how much a key holds, asked before its content is. Whoever may write into Redis may put
-- 512 MB anywhere.
local LARGEST = 1048576        -- bytes of a document, as text or as names and values of a hash
local FIELD = 96               -- bytes that Redis takes for a field of a hash besides
local MOST = LARGEST / 10      -- fields: as text, `"abc": 1, ` each

-- Bytes of a string; of a hash, all that it takes in Redis, up to 16 MiB for 1 MiB in small fields. 0 for other types.
local function size_of(key, type_)
    if type_ == 'string' then
        return redis.call('STRLEN', key)
    elseif type_ ~= 'hash' then
        return 0
    end
    local count = redis.call('HLEN', key)
    if count > MOST then    -- not to be counted one by one: Redis would stand still
        return 16 * LARGEST + count * FIELD
    end
    local size = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
    if type(size) ~= 'number' then    -- no right to do that
        size = count * FIELD
        for _, name in ipairs(redis.call('HKEYS', key)) do
            size = size + #name + redis.call('HSTRLEN', key, name)
        end
    end
    return size
end

-- Fields of a mirror hash: false for each that isn't there, '' for one too long to be ours; nothing if what is there is no
-- hash.
local function fields_of(key, ...)
    local names, found = {...}, {}
    for i, name in ipairs(names) do
        local length = redis.pcall('HSTRLEN', key, name)
        if type(length) ~= 'number' then
            return nil
        end
        found[i] = length > 64 and '' or redis.call('HGET', key, name)
    end
    return found
end
