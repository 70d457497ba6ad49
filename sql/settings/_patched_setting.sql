-- _merge_patch(), but for that. A nullable key, too: what null means there is its default, mostly null itself. Reads only.
create or replace function _patched_setting(p_setting_type text, p_settings jsonb, p_patch jsonb)
returns jsonb
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select _merge_patch(p_settings, p_patch) || coalesce((select jsonb_object_agg(f.key, f.default_value)
                                                           from setting_fields f
                                                          where f.setting_type = split_part(p_setting_type, ':', 1) and f.default_value is not null
                                                            and p_patch -> f.key = 'null'), '{}')
$$;

comment on function _patched_setting(text, jsonb, jsonb) is
'A document after a JSON merge patch (RFC 7396), where null puts the default of a key that the catalogue lists back, and removes any other key.';
select _allow('_patched_setting', 'admin');
