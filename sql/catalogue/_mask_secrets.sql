-- setting_fields.is_secret says which. Reads only.
create or replace function _mask_secrets(p_setting_type text, p_settings jsonb)
returns jsonb
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select p_settings || coalesce((select jsonb_object_agg(f.key, secret_mask())
                                     from setting_fields f
                                    where f.setting_type = split_part(p_setting_type, ':', 1) and f.is_secret and p_settings ->> f.key is not null), '{}')
$$;

comment on function _mask_secrets(text, jsonb) is
'The document with the values of secret keys masked, but for null.';
select _allow('_mask_secrets', 'admin');
