-- Reads only.
create or replace function list_setting_fields()
returns setof setting_fields
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select * from setting_fields f order by f.setting_type, f.key
$$;

comment on function list_setting_fields() is
'The known keys of every setting type with type, default and limits.';
select _allow('list_setting_fields', 'reader writer relay admin');
