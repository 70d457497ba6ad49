-- Put before apply.lua and inspect.lua: what a data key holds, and a digest of that.

-- A digest of fields and values, flat in an array from an index on, in the order of the names.
local function digest_fields(flat, first)
    local fields, joined = {}, {}
    for i = first, #flat, 2 do
        fields[#fields + 1] = {flat[i], flat[i + 1]}
    end
    table.sort(fields, function(a, b) return a[1] < b[1] end)
    for i, field in ipairs(fields) do
        joined[i] = #field[1] .. ':' .. field[1] .. #field[2] .. ':' .. field[2]
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

