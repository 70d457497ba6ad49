-- Deletes the marks of keys that Redis now has at these versions, or (p_erased) no longer has since they were erased;
-- a mark of another version (newer, or older: a backup was restored since), of the other sort, or (in a confined
-- session) of another user, stays. The arrays are of one
-- length. Returns how many. The commit doesn't wait for the disk: a mark that comes back after a crash is only applied
-- once more.
create or replace function clear_pending(p_owners text[], p_kinds text[], p_versions integer[], p_erased boolean[])
returns integer
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_count integer;
    v_only  text[] := confined_owners();
begin
    perform set_config('synchronous_commit', 'off', true);
    delete from mirror_pending m
     using (select p.owner, p.kind
              from unnest(p_owners, p_kinds, p_versions, p_erased) as done (owner, kind, version, erased)
              join mirror_pending p on p.owner = done.owner and p.kind = done.kind and p.erased = done.erased and p.version = done.version
             where v_only is null or p.owner = any (v_only)
               for update of p skip locked) as done
     where m.owner = done.owner and m.kind = done.kind;
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

comment on function clear_pending(text[], text[], integer[], boolean[]) is
'Deletes marks from mirror_pending whose keys Redis has at these versions; other marks stay. Returns how many.';
revoke execute on function clear_pending(text[], text[], integer[], boolean[]) from public;
