-- Tells which life of a mirror hash this is.
--
--   KEYS  1 the owner's mirror hash
--   ARGV  1 a random token, for a life that begins
return life_of(KEYS[1], ARGV[1])
