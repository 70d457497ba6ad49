-- p_erased: Redis no longer has them since they were erased. In a confined session another user's stay, too. The arrays are of
-- one length. The commit doesn't wait for the disk: a mark that comes back after a crash is only applied once more.
-- Each mark by its key, and deleted where it was found, whatever the statistics say: joined, a table of marks that they take
-- for empty is locked anew for each of its rows.
create or replace function clear_pending(p_owners text[], p_kinds text[], p_versions integer[], p_erased boolean[])
returns integer
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_count integer;
    v_only  text[] := confined_owners();
begin
    perform set_config('synchronous_commit', 'off', true);
    delete from mirror_pending m
     where m.ctid = any (array(
           select p.ctid
             from unnest(p_owners, p_kinds, p_versions, p_erased) as done (owner, kind, version, erased)
            cross join lateral (select q.ctid from mirror_pending q
                                 where q.owner = done.owner and q.kind = done.kind and q.erased = done.erased and q.version = done.version
                                   for update skip locked) p
            where v_only is null or done.owner = any (v_only)));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

comment on function clear_pending(text[], text[], integer[], boolean[]) is
'Deletes marks from mirror_pending whose keys Redis has at these versions; other marks, and those that another transaction holds, stay. Returns how many.';
select _allow('clear_pending', 'writer relay admin');
