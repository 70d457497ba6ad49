-- What _is_valid_value() allows. A default that is a secret isn't shown. Touches no table.
create or replace function _field_schema(p_field setting_fields, p_language text)
returns jsonb
language sql immutable
set search_path = pg_catalog, public, pg_temp
as $$
    select jsonb_build_object('type', case when p_field.is_nullable then jsonb_build_array(p_field.json_type, 'null') else to_jsonb(p_field.json_type) end)
           || case when p_field.choices is null then '{}'
                   else jsonb_build_object('enum', to_jsonb(p_field.choices) || case when p_field.is_nullable then '[null]' else '[]' end::jsonb) end
           || case when p_field.default_value is null or p_field.is_secret and p_field.default_value <> 'null' then '{}'
                   else jsonb_build_object('default', p_field.default_value) end
           || case when p_field.is_secret then jsonb_build_object('writeOnly', true, 'not', jsonb_build_object('const', secret_mask())) else '{}' end
           || jsonb_strip_nulls(jsonb_build_object(
                  'minimum', p_field.minimum, 'maximum', p_field.maximum,
                  'description', nullif(case when p_language = 'ko' then coalesce(p_field.description_ko, p_field.description) else p_field.description end, '')))
$$;

comment on function _field_schema(setting_fields, text) is
'JSON Schema of a key of the catalogue, with its description in a language (en, ko).';
select _allow('_field_schema', 'admin');
