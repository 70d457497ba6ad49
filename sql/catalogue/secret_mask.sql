-- Touches no table.
create or replace function secret_mask()
returns jsonb
language sql immutable
set search_path = pg_catalog, public, pg_temp
as $$
    select '"********"'::jsonb
$$;

comment on function secret_mask() is
'What is shown instead of the value of a secret setting.';
select _allow('secret_mask', 'admin');
