-- See erased_owners(). A confined session: its user only. Idempotent.
create or replace function clear_erased(p_owners text[])
returns setof text
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_owners text[] := array(select o from erased_owners(p_owners) o order by o);
begin
    perform _mark_erased(v_owners);
    return query select unnest(v_owners);
end
$$;

comment on function clear_erased(text[]) is
'Marks for Redis to lose what it has again of people who were erased; returns whom that concerns. Used by the relay, which has found an older Redis, and verify --repair.';
select _allow('clear_erased', 'relay admin');
