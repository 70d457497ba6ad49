-- The triggers run with the rights of whoever writes, and nobody but the owner may read trigger_permits. Reads only.
create or replace function _is_permitted(p_permit text, p_id uuid default null)
returns boolean
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select exists (select from trigger_permits p where p.permit = p_permit and p.id is not distinct from p_id)
$$;

comment on function _is_permitted(text, uuid) is
'Whether a function of this transaction lets a trigger let something pass (trigger_permits). Called by triggers only.';
select _allow('_is_permitted', 'admin');
