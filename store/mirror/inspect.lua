-- Looks at one key as it is, whoever wrote it, with our version of the same moment.
--
--   KEYS  1 the data key    2 the owner's mirror hash
--   ARGV  1 kind  2 encoding: 'fields' looks at the field of the mirror hash itself
--
-- Returns {version (0 if we never mirrored it), Redis type, content of a hash or string, its digest, updated_at of the
-- version}; type 'large' with a note for content, see look().
local fields = fields_of(KEYS[2], ARGV[1], 'telegram_id', ARGV[1] .. ':updated_at') or {}
local version, updated_at = version_of(fields[1]), fields[3] or ''
if ARGV[2] == 'fields' then
    if not fields[2] then
        return {version, 'none', '', '', updated_at}
    end
    local is_long = redis.call('HSTRLEN', KEYS[1], 'telegram_id') > #fields[2]
    return {version, 'string', is_long and '?' or fields[2], '', updated_at}
end
local type_, content, digest = look(KEYS[1], ARGV[1] == 'api_keys')
return {version, type_, content, digest, updated_at}
