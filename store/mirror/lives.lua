-- Tells which lives of mirror hashes these are.
--
--   KEYS  the owners' mirror hashes
--   ARGV  1 a random token, for a life that begins
local lives = {}
for i, key in ipairs(KEYS) do
    lives[i] = life_of(key, ARGV[1])
end
return lives
