-- Keys that Redis may not have, with what it should hold now: marks joined with the current state, oldest
-- first; waited: the age of the mark, that is, of its writer's transaction. p_owners and p_kinds limit it to those, a
-- confined session to the keys of its user. Keys set aside with an error are left out unless p_include_failed. Takes no
-- lock, so no writer waits.
create or replace function pending_keys(
    p_owners         text[] default null,
    p_kinds          text[] default null,
    p_limit          integer default 1000,
    p_include_failed boolean default false
)
returns table (
    owner text, kind text, suffix text, encoding text, version integer, updated_at timestamptz, document jsonb, waited interval
)
language plpgsql stable    -- not sql: the relay calls this often, and here the plan is kept
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_only   text[] := confined_owners();
    v_owners text[];
    v_kinds  text[];
    v_since  timestamptz[];
begin
    select array_agg(m.owner order by m.marked_at), array_agg(m.kind order by m.marked_at), array_agg(m.marked_at order by m.marked_at)
      into v_owners, v_kinds, v_since
      from (select p.owner, p.kind, p.marked_at from mirror_pending p
             where (v_only is null or p.owner = any (v_only))
               and (p_owners is null or p.owner = any (p_owners))
               and (p_kinds is null or p.kind = any (p_kinds))
               and (p_include_failed or p.last_error is null)
             order by p.marked_at
             limit p_limit) m;
    if v_owners is null then
        return;    -- as most looks of the relay end
    end if;
    return query
    select s.owner, s.kind, s.suffix, s.encoding, s.version, s.updated_at, s.document, clock_timestamp() - m.since
      from mirror_source s
      join unnest(v_owners, v_kinds, v_since) with ordinality as m (owner, kind, since, place) on m.owner = s.owner and m.kind = s.kind
     where s.owner = any (v_owners)    -- by index, as mirror_state()
     order by m.place;
end
$$;

comment on function pending_keys(text[], text[], integer, boolean) is
'What is to be mirrored: the current state of every key marked in mirror_pending (of these owners and kinds), oldest first; without those set aside, unless p_include_failed. Columns are those of the view mirror_source, and how long the mark has waited.';
revoke execute on function pending_keys(text[], text[], integer, boolean) from public;
