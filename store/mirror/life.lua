-- Put before apply.lua and lives.lua, after size.lua: which life of a mirror hash this is.
--
-- A hash that is lost (evicted, deleted, flushed) takes along what guarded its owner's keys. So each has a random name,
-- `life`, as long as it lives: whoever wants to write where nothing guards a key must say it, and must have learnt it before
-- reading PostgreSQL. What was read before the hash was lost doesn't know it, however late it comes.
local UNWRITTEN_FOR = 3600    -- seconds that a hash stays in which nothing else is written
local moment                  -- of this command

-- The life of a mirror hash. `token`, by which one begins if need be, is random; with the time it is another each time, also
-- if a command comes twice.
local function life_of(key, token)
    local fields = fields_of(key, 'life')
    if not fields then    -- someone put another type of value there
        redis.call('DEL', key)
    elseif fields[1] and fields[1] ~= '' then
        return fields[1]
    end
    moment = moment or redis.call('TIME')
    local life = token .. '.' .. moment[1] .. '.' .. moment[2]
    redis.call('HSET', key, 'life', life)
    if redis.call('HLEN', key) == 1 then
        redis.call('EXPIRE', key, UNWRITTEN_FOR)
    end
    return life
end

