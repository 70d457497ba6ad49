-- Writes one mirrored document and its version together, so that an older version never comes back (nor one of before
-- the person was erased: who registers again starts at version 1, but later), and never over something that PostgreSQL
-- may not have: that goes back to the caller, who keeps it first.
--
--   KEYS  1 the data key    2 the owner's mirror hash: kind -> version mirrored
--   ARGV  1 kind  2 version  3 updated_at
--         4 encoding: hash, json, string, fields (of the mirror hash itself), none (the key must not exist),
--           erased (none, whatever is there; of the person's mirror hash only the versions stay, for an hour,
--           so that a write still under way doesn't bring anything back)
--         5, 6, 7 the version, its updated_at ('?': not looked at) and the digest the caller saw there and has dealt with:
--              write, whatever they are, unless they moved ('': write only if newer, or if the data key is gone)
--         8 channel, '' if this is no settings document   9 message
--         10 'version': of the content only the digest is written, what the caller saw there stays as it is: it isn't
--            all in PostgreSQL, and the next write keeps it first; '' else
--         11 the life of the mirror hash, if the caller learnt it before reading PostgreSQL; '' else   12 a random token
--         13… the content: field, value, … or one string
--
-- Returns {status, version}: 1 written, 0 there already, -1 refused (Redis has another version), with the
-- version that Redis has afterwards; {-2, version, type, content, digest, updated_at}: refused, what is there isn't
-- what we wrote, or isn't what this version is said to be; or {-3, 0, life}: refused, nothing guards this key, so this may
-- be older than what was there: read PostgreSQL, and come back with this life.
local kind, version, updated_at, encoding = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local seen, seen_at, seen_digest, channel, message, first = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], 13
local is_version_only = ARGV[10] == 'version'
local is_credentials = kind == 'api_keys'
local is_document = channel ~= ''
local is_erased = encoding == 'erased'
local ERASED_FOR = 3600    -- seconds

local function remove(key)    -- in the background: it may have millions of members
    if type(redis.pcall('UNLINK', key)) ~= 'number' then
        redis.call('DEL', key)
    end
end

local mirrored = fields_of(KEYS[2], kind, kind .. ':updated_at', kind .. ':digest')
if not mirrored then    -- someone put another type of value there
    remove(KEYS[2])
    mirrored = {}
end
local current = version_of(mirrored[1])
local mirrored_at, given = mirrored[2] or '', mirrored[3]
if current == 0 then
    local life = life_of(KEYS[2], ARGV[12])
    if life ~= ARGV[11] then
        return {-3, 0, life}
    end
end

-- What should be there, and what is: an empty document for a hash is no key at all.
local expected, written = 'string', ''
if encoding == 'none' or is_erased or (encoding == 'hash' and #ARGV < first) then
    expected = 'none'
elseif encoding == 'hash' or encoding == 'fields' then
    expected = 'hash'
end
if encoding == 'hash' then
    written = digest_fields(ARGV, first)
elseif encoding == 'json' then
    written = redis.sha1hex(ARGV[first])
end
local type_ = redis.call('TYPE', KEYS[1]).ok
-- As far as we know from the last apply. There is the same version again in a life after an erasure.
local is_same = mirrored_at == updated_at and (not is_document or given == written)

if seen ~= '' then
    if current ~= tonumber(seen) or (seen_at ~= '?' and seen_at ~= mirrored_at) then    -- a version may be another life's
        return {-1, current}
    end
elseif version < current or (current > 0 and updated_at < mirrored_at) then
    return {-1, current}
elseif version == current and type_ == expected and is_same then
    return {0, current}
end

if is_document and type_ ~= 'none' and not is_erased then
    local looks_like, content, found = look(KEYS[1], is_credentials)
    -- The very same; or ours, and in the history; of the same version, too, if that was encrypted anew. (Not of before an
    -- erasure.)
    local is_known = found == written and expected ~= 'none'
                     or found == given and (version > current or mirrored_at == updated_at)
    if seen ~= '' then
        is_known = found == seen_digest
    end
    if not is_known then
        return {-2, current, looks_like, content, found, mirrored_at}
    end
end

-- First the command that a full Redis refuses: then nothing at all is written.
if is_document then
    redis.call('HSET', KEYS[2], kind, ARGV[2], kind .. ':updated_at', updated_at, kind .. ':digest', written)
else
    redis.call('HSET', KEYS[2], kind, ARGV[2], kind .. ':updated_at', updated_at)
end
if current == 0 and not is_erased then    -- it may have been there for its life only
    redis.call('PERSIST', KEYS[2])
end
if is_version_only then
    return {1, version}
end
if is_erased and not is_document then    -- of the mirror hash only versions stay, whoever wrote there
    local fields = {}
    if size_of(KEYS[2], 'hash') <= LARGEST then
        fields = redis.call('HGETALL', KEYS[2])
    else    -- not ours
        remove(KEYS[2])
        redis.call('HSET', KEYS[2], kind, ARGV[2], kind .. ':updated_at', updated_at)
    end
    for i = 1, #fields, 2 do
        local is_time = string.match(fields[i], ':updated_at$') and string.match(fields[i + 1], '^[%d:T.+-]+$')
        if fields[i] == 'telegram_id' or (version_of(fields[i + 1]) == 0 and not is_time) then    -- an ID may look like a version
            redis.call('HDEL', KEYS[2], fields[i])
        end
    end
end
if is_erased and KEYS[1] == KEYS[2] then
    -- that was all: the versions are in this very key
elseif is_credentials and encoding == 'hash' and type_ == 'hash' and size_of(KEYS[1], 'hash') <= LARGEST then
    for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
        if not is_note(name) or redis.call('HSTRLEN', KEYS[1], name) > 256 then
            redis.call('HDEL', KEYS[1], name)
        end
    end
elseif type_ ~= 'none' and (encoding == 'hash' or type_ ~= expected or is_erased) then
    remove(KEYS[1])
end
if not is_document then    -- the owner comes or goes
    if is_erased then redis.call('EXPIRE', KEYS[2], ERASED_FOR) else redis.call('PERSIST', KEYS[2]) end
end
if encoding == 'hash' or encoding == 'fields' then
    for i = first, #ARGV, 1000 do    -- Lua's stack has a limit
        redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
    end
elseif encoding ~= 'none' and not is_erased then
    redis.call('SET', KEYS[1], ARGV[first])
end
if is_document then
    redis.pcall('PUBLISH', channel, message)    -- a hint: without rights on the channel the data count
end
return {1, version}
