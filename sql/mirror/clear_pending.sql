-- p_erased: Redis no longer has them since they were erased. p_moments: updated_at of what Redis has, by which a version of a life
-- before an erasure isn't taken for one of the same number. In a confined session another user's stay, too. The arrays are of
-- one length. The commit doesn't wait for the disk: a mark that comes back after a crash is only applied once more.
-- Each mark by its key, and deleted where it was found, whatever the statistics say: joined, a table of marks that they take
-- for empty is locked anew for each of its rows.
create or replace function clear_pending(
    p_owners   text[],
    p_kinds    text[],
    p_versions integer[],
    p_erased   boolean[],
    p_moments  timestamptz[] default null
)
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
    v_lived text[];            -- who was ever erased
    v_other text[] := '{}';    -- their keys of which PostgreSQL has another state
begin
    perform set_config('synchronous_commit', 'off', true);
    if p_moments is not null and exists (select from erased_people) then
        v_lived := array(select o.owner from (select distinct unnest(p_owners) as owner) o
                          where exists (select from erased_people e where e.digest = _erasure_digest(o.owner)));
        if v_lived <> '{}' then
            v_other := array(select concat_ws(' ', d.owner, d.kind, d.erased)
                               from unnest(p_owners, p_kinds, p_erased, p_moments) as d (owner, kind, erased, moment)
                               left join mirror_state(p_owners, p_kinds) s on s.owner = d.owner and s.kind = d.kind
                              where d.owner = any (v_lived) and s.updated_at is distinct from d.moment);
        end if;
    end if;
    delete from mirror_pending m
     where m.ctid = any (array(
           select p.ctid
             from unnest(p_owners, p_kinds, p_versions, p_erased) as done (owner, kind, version, erased)
            cross join lateral (select q.ctid from mirror_pending q
                                 where q.owner = done.owner and q.kind = done.kind and q.erased = done.erased and q.version = done.version
                                   for update skip locked) p
            where (v_only is null or done.owner = any (v_only))
              and concat_ws(' ', done.owner, done.kind, done.erased) <> all (v_other)));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

comment on function clear_pending(text[], text[], integer[], boolean[], timestamptz[]) is
'Deletes marks from mirror_pending whose keys Redis has at these versions; other marks, and those that another transaction holds, stay. Returns how many.';
select _allow('clear_pending', 'writer relay admin');
