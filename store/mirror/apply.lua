-- Writes one mirrored document and its version together, so that an older version never comes back, and
-- never over something that we didn't write: that goes back to the caller, who keeps it first.
--
--   KEYS  1 the data key    2 the owner's mirror hash: kind -> version mirrored
--   ARGV  1 kind  2 version  3 updated_at
--         4 encoding: hash, json, string, fields (of the mirror hash itself), none (the key must not exist)
--         5 the version the caller saw, for a repair ('': write only if newer, or if the data key is gone)
--         6 channel, '' if this is no settings document   7 message   8… the content: field, value, … or one string
--
-- Returns {status, version}: 1 written, 0 there already, -1 refused (Redis has another version), with the
-- version that Redis has afterwards; or {-2, version, type, content}: refused, somebody else wrote there.
local kind, version, updated_at, encoding = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local seen, channel, message = ARGV[5], ARGV[6], ARGV[7]
local is_document = channel ~= ''

local mirrored = redis.pcall('HGET', KEYS[2], kind)
if type(mirrored) == 'table' then    -- someone put another type of value there
    redis.call('DEL', KEYS[2])
    mirrored = nil
end
local current = tonumber(mirrored or 0) or 0

-- What the data key is, and what it should be: an empty document for a hash is no key at all.
local type_, expected = redis.call('TYPE', KEYS[1]).ok, 'string'
if encoding == 'none' or (encoding == 'hash' and #ARGV < 8) then
    expected = 'none'
elseif encoding == 'hash' or encoding == 'fields' then
    expected = 'hash'
end

-- A digest of a document: of the text, or of a hash's fields in the order of their names.
local function digest(flat)
    local pairs_, joined = {}, {}
    for i = 1, #flat, 2 do
        pairs_[#pairs_ + 1] = {flat[i], flat[i + 1]}
    end
    table.sort(pairs_, function(a, b) return a[1] < b[1] end)
    for i, pair in ipairs(pairs_) do
        joined[i] = #pair[1] .. ':' .. pair[1] .. #pair[2] .. ':' .. pair[2]
    end
    return redis.sha1hex(table.concat(joined))
end

if seen ~= '' then
    if current ~= tonumber(seen) then
        return {-1, current}
    end
elseif version < current then
    return {-1, current}
elseif version == current and type_ == expected then
    return {0, current}
end

if seen == '' and is_document then
    local content, found = '', ''
    if type_ == 'string' then
        content = redis.call('GET', KEYS[1])
        found = redis.sha1hex(content)
    elseif type_ == 'hash' then
        content = redis.call('HGETALL', KEYS[1])
        found = digest(content)
    end
    if type_ ~= 'none' and found ~= redis.call('HGET', KEYS[2], kind .. ':digest') then
        return {-2, current, type_, content}
    end
end

local written = ''
if encoding == 'hash' then
    local fields = {}
    for i = 8, #ARGV do
        fields[#fields + 1] = ARGV[i]
    end
    written = digest(fields)
elseif encoding == 'json' then
    written = redis.sha1hex(ARGV[8])
end

-- First the command that a full Redis refuses: then nothing at all is written.
redis.call('HSET', KEYS[2], kind, ARGV[2], kind .. ':updated_at', updated_at)
if is_document then
    redis.call('HSET', KEYS[2], kind .. ':digest', written)
end
if encoding == 'fields' then
    for i = 8, #ARGV, 2 do
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
elseif encoding == 'hash' then
    redis.call('DEL', KEYS[1])
    for i = 8, #ARGV, 2 do
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
elseif encoding == 'none' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[8])
end
if is_document then
    redis.call('PUBLISH', channel, message)
end
return {1, version}
