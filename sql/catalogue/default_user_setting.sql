-- Reads only.
create or replace function default_user_setting(p_setting_type text)
returns jsonb
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform check_setting_type(p_setting_type);
    return (select coalesce(jsonb_object_agg(f.key, f.default_value), '{}')
              from setting_fields f
             where f.setting_type = split_part(p_setting_type, ':', 1) and f.default_value is not null);
end
$$;

comment on function default_user_setting(text) is
'The default document of a setting type, from the catalogue (setting_fields). Raises US002 (unknown type).';
select _allow('default_user_setting', 'reader writer admin');
