-- The reverse of _mask_secrets(). Reads only.
create or replace function _unmask_secrets(p_setting_type text, p_settings jsonb, p_current jsonb)
returns jsonb
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select p_settings - coalesce(array_agg(f.key), '{}')
                      || coalesce(jsonb_object_agg(f.key, p_current -> f.key) filter (where p_current ? f.key), '{}')
      from setting_fields f
     where f.setting_type = split_part(p_setting_type, ':', 1) and f.is_secret and p_settings -> f.key = secret_mask()
$$;

comment on function _unmask_secrets(text, jsonb, jsonb) is
'The document with masked secrets replaced by those of the current document, left out where it has none.';
select _allow('_unmask_secrets', 'admin');
