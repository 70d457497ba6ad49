-- Looks at one key as it is, whoever wrote it, with our version of the same moment.
--
--   KEYS  1 the data key    2 the owner's mirror hash
--   ARGV  1 kind  2 encoding: 'fields' looks at the field of the mirror hash itself
--
-- Returns {version ('' if never mirrored), type, content}: type is Redis's; content that of a hash or string.
local version = redis.pcall('HGET', KEYS[2], ARGV[1])
if type(version) ~= 'string' then
    version = ''
end
if ARGV[2] == 'fields' then
    local value = redis.pcall('HGET', KEYS[1], 'telegram_id')
    if type(value) ~= 'string' then
        return {version, 'none', ''}
    end
    return {version, 'string', value}
end
local found = redis.call('TYPE', KEYS[1]).ok
if found == 'hash' then
    return {version, 'hash', redis.call('HGETALL', KEYS[1])}
elseif found == 'string' then
    return {version, 'string', redis.call('GET', KEYS[1])}
end
return {version, found, ''}
