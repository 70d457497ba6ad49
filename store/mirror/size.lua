-- Put before the other scripts: how much a key holds, asked before its content is. Whoever may write into Redis may put
-- 512 MB anywhere.
local LARGEST = 1048576        -- bytes of a document, as text or as names and values of a hash
local FIELD = 96               -- bytes that Redis takes for a field of a hash besides

-- Bytes of a string; of a hash, all that it takes in Redis, some 16 MiB for 1 MiB in small fields. 0 for other types.
local function size_of(key, type_)
    if type_ == 'string' then
        return redis.call('STRLEN', key)
    elseif type_ ~= 'hash' then
        return 0
    end
    local size = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
    if type(size) ~= 'number' then    -- no right to do that
        size = redis.call('HLEN', key) * FIELD
        if size <= 16 * LARGEST then
            for _, name in ipairs(redis.call('HKEYS', key)) do
                size = size + #name + redis.call('HSTRLEN', key, name)
            end
        end
    end
    return size
end
