-- Touches no table.
create or replace function _write_again_as(p_writer jsonb)
returns void
language sql
set search_path = pg_catalog, public, pg_temp
as $$
    select set_config('settings_store.' || w.key, coalesce(w.value, ''), true) from jsonb_each_text(p_writer) w
$$;

comment on function _write_again_as(jsonb) is
'Puts back who writes and why, as _write_as_schedule() found it.';
select _allow('_write_again_as', 'admin');
