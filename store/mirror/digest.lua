-- Put before apply.lua and inspect.lua: what a data key holds, and a digest of that.

-- A digest of fields and values, flat in an array from an index on, in the order of the names.
local function digest_fields(flat, first)
    local names, values, joined, n, is_sorted = {}, {}, {}, 0, true
    for i = first, #flat, 2 do
        local name = flat[i]
        is_sorted = is_sorted and (n == 0 or names[n] < name)
        n = n + 1
        names[n], values[name] = name, flat[i + 1]
    end
    if not is_sorted then    -- they come sorted, and a small hash keeps its order
        table.sort(names)
    end
    for i = 1, n do
        local name = names[i]
        local value = values[name]
        joined[i] = #name .. ':' .. name .. #value .. ':' .. value
    end
    return redis.sha1hex(table.concat(joined))
end

-- The version in a mirror hash, 0 for what we can't have written.
local function version_of(text)
    return type(text) == 'string' and #text < 10 and string.match(text, '^%d+$') and tonumber(text) or 0
end

-- Redis type, content (of a hash or a string), digest.
local function look(key)
    local type_ = redis.call('TYPE', key).ok
    if type_ == 'string' then
        local content = redis.call('GET', key)
        return type_, content, redis.sha1hex(content)
    elseif type_ == 'hash' then
        local content = redis.call('HGETALL', key)
        return type_, content, digest_fields(content, 1)
    end
    return type_, '', ''
end

