-- p_kinds, p_versions, p_moments: what Redis says it was given of the person, in which version, saved when; of one length. What
-- PostgreSQL has of that kind is marked to replace it, and it isn't kept in the history. What was saved since the erasure is left
-- alone. A confined session: its user only. Idempotent.
create or replace function clear_former_life(p_owner text, p_kinds text[], p_versions integer[], p_moments timestamptz[])
returns setof text
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    return query
    insert into mirror_pending as m (owner, kind, version, erased, discards)
    select p_owner, f.kind, coalesce(s.version, f.version + 1), s.version is null, s.version is not null
      from returned_owners(array[p_owner]) o
      join erased_people e on e.digest = _erasure_digest(o)
     cross join unnest(p_kinds, p_versions, p_moments) as f (kind, version, moment)
      left join mirror_source s on s.owner = p_owner and s.kind = f.kind
     where f.moment <= e.ended_at
       and (f.kind = 'api_keys' or _setting_type_problem(f.kind) is null)
     order by f.kind
        on conflict (owner, kind) do update set discards = true where not m.erased
    returning m.kind;
end
$$;

comment on function clear_former_life(text, text[], integer[], timestamptz[]) is
'Marks for Redis to lose what it has again of a person from before the erasure, who is registered again; returns the kinds. Used by the relay, which has found an older Redis.';
select _allow('clear_former_life', 'relay admin');
