-- Put before apply.lua and inspect.lua, after size.lua: what a data key holds, and a digest of that.

-- What the predecessor's bots write beside credentials: whose they are, and when they were written. Theirs, and left there.
local NOTES = {'uid', 'last_update_time', 'last_update_time_kr'}

local function is_note(name)    -- beside credentials
    return name == NOTES[1] or name == NOTES[2] or name == NOTES[3]
end

-- Names and values of a hash without those of the notes.
local function without_notes(flat)
    local rest = {}
    for i = 1, #flat, 2 do
        if not is_note(flat[i]) then
            rest[#rest + 1] = flat[i]
            rest[#rest + 1] = flat[i + 1]
        end
    end
    return rest
end

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

-- A note of what is larger than a document, in place of its content, and a digest of the note.
local function note(...)
    local flat = {...}
    return 'large', flat, digest_fields(flat, 1)
end

-- Redis type, content (of a hash or a string), digest; or 'large' and a note. That has the digest of a string's first MiB
-- only, and of a huge hash none: Redis would stand still over it. The digest of credentials is that without the notes.
local function look(key, is_credentials)
    local type_ = redis.call('TYPE', key).ok
    local size = size_of(key, type_)
    if type_ == 'string' then
        local content = redis.call('GETRANGE', key, 0, LARGEST - 1)
        local digest = redis.sha1hex(content)
        if size > LARGEST then
            return note('bytes', tostring(size), 'sha1 of the first MiB', digest, 'type', type_)
        end
        return type_, content, digest
    elseif type_ == 'hash' then
        local fields = tostring(redis.call('HLEN', key))
        if size > 16 * LARGEST then
            return note('bytes in Redis', tostring(size), 'fields', fields, 'type', type_)
        end
        local content = redis.call('HGETALL', key)
        local digest = digest_fields(is_credentials and without_notes(content) or content, 1)
        if size > LARGEST then
            local bytes = 0
            for i = 1, #content do
                bytes = bytes + #content[i]
            end
            if bytes > LARGEST then
                return note('bytes', tostring(bytes), 'fields', fields, 'sha1', digest, 'type', type_)
            end
        end
        return type_, content, digest
    end
    return type_, '', ''
end

