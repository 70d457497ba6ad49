-- What Redis has of them came back with an old copy of it. A confined session: its user only. Reads by index, no lock.
create or replace function erased_owners(p_owners text[])
returns setof text
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_only text := confined_to();
begin
    return query
    select o.owner from (select distinct unnest(p_owners) as owner) o
     where (v_only is null or o.owner = v_only)
       and not exists (select from app_users u where u.okx_uid = o.owner)
       and not exists (select from telegram_links l where l.telegram_id = o.owner)
       and is_erased(o.owner);
end
$$;

comment on function erased_owners(text[]) is
'Those of these owners of Redis keys who were erased and never registered again. Used by relay and verify.';
select _allow('erased_owners', 'writer relay admin');
