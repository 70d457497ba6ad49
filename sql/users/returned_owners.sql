-- A confined session: its user only. Reads by index, no lock.
create or replace function returned_owners(p_owners text[])
returns setof text
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_only text := confined_to();
begin
    if not exists (select from erased_people e where e.is_back) then    -- else the digests needn't be made
        return;
    end if;
    return query
    select o.owner from (select distinct unnest(p_owners) as owner) o
     where (v_only is null or o.owner = v_only)
       and exists (select from app_users u where u.okx_uid = o.owner)
       and exists (select from erased_people e where e.digest = _erasure_digest(o.owner) and e.is_back);
end
$$;

comment on function returned_owners(text[]) is
'Those of these OKX UIDs who were erased and registered again. Used by the relay, which has found an older Redis.';
select _allow('returned_owners', 'relay admin');
