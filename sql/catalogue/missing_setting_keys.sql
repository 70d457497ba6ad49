-- In the order of their names. A save leaves them out as it was told: readers that count on them are told by this. Reads only.
create or replace function missing_setting_keys(p_setting_type text, p_settings jsonb)
returns text[]
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select coalesce(array_agg(f.key order by f.key), '{}')
      from setting_fields f
     where f.setting_type = split_part(p_setting_type, ':', 1) and f.default_value is not null and not p_settings ? f.key
$$;

comment on function missing_setting_keys(text, jsonb) is
'The keys that the catalogue lists with a default and the document lacks; {} if none. register_user() fills them. Example: select okx_uid, missing_setting_keys(setting_type, settings) from find_users_by_setting(''params'', ''{}'').';
select _allow('missing_setting_keys', 'reader writer admin');
