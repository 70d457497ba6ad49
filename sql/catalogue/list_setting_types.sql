-- Reads only.
create or replace function list_setting_types()
returns setof setting_types
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select * from setting_types t order by t.setting_type
$$;

comment on function list_setting_types() is
'The setting types, with the suffix and encoding of their Redis keys.';
select _allow('list_setting_types', 'reader writer relay admin');
