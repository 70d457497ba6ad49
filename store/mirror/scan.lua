-- Lists keys as SCAN does, without those whose name can't be one of ours; a name may have 512 MB, too.
--
--   ARGV  1 cursor  2 pattern  3 how many to look at  4 bytes of a name at most
--
-- Returns {cursor, names}.
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local names = {}
for _, name in ipairs(page[2]) do
    if #name <= tonumber(ARGV[4]) then
        names[#names + 1] = name
    end
end
return {page[1], names}
