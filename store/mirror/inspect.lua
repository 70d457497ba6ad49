-- Looks at one key as it is, whoever wrote it, with our version of the same moment.
--
--   KEYS  1 the data key    2 the owner's mirror hash
--   ARGV  1 kind  2 encoding: 'fields' looks at the field of the mirror hash itself
--
-- Returns {version (0 if we never mirrored it), Redis type, content of a hash or string, its digest}; type
-- 'large' with a note for content, see look().
local version = version_of(redis.pcall('HGET', KEYS[2], ARGV[1]))
if ARGV[2] == 'fields' then
    local value = redis.pcall('HGET', KEYS[1], 'telegram_id')
    if type(value) ~= 'string' then
        return {version, 'none', '', ''}
    end
    return {version, 'string', string.sub(value, 1, 64), ''}    -- more is none anyway
end
return {version, look(KEYS[1])}
