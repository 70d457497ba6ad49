-- Of a key and a literal, either way round. The values are such as the catalogue allows the key: so what the two don't have in common
-- (a type, as text and number have none; for which a rule is broken whatever joins it) is left to SQL, and so are `<` of texts and
-- `starts with` of what may be null. Where a document lacks the key, its default answers. Reads only.
create or replace function _comparison_schema(p_setting_type text, p_left jsonb, p_operator text, p_right jsonb)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_field   setting_fields;
    v_literal jsonb := p_right -> 'literal';
    v_kind    text := jsonb_typeof(v_literal);
    v_value   jsonb;
    v_path    jsonpath;
begin
    if p_left ? 'literal' and p_right ? 'key' and p_operator <> 'starts with' then
        return _comparison_schema(p_setting_type, p_right, translate(p_operator, '<>', '><'), p_left);
    end if;
    select * into v_field from setting_fields f where f.setting_type = split_part(p_setting_type, ':', 1) and f.key = p_left ->> 'key';
    if v_field.key is null or v_literal is null or p_operator not in ('==', '!=', '<', '<=', '>', '>=', 'starts with')
       or v_kind not in ('null', case v_field.json_type when 'integer' then 'number' else v_field.json_type end) then
        return null;
    end if;
    v_value := case
        when p_operator = '==' then jsonb_build_object('const', v_literal)
        when p_operator = '!=' then jsonb_build_object('not', jsonb_build_object('const', v_literal))
        when p_operator = 'starts with' and v_kind = 'string' and not v_field.is_nullable
        then jsonb_build_object('pattern', '^' || regexp_replace(v_literal #>> '{}', '([\\^$.|?*+()\[\]{}])', '\\\1', 'g'))
        when v_kind = 'number' and p_operator <> 'starts with'
        then jsonb_build_object('type', 'number', case p_operator when '<' then 'exclusiveMaximum' when '<=' then 'maximum'
                                                                  when '>' then 'exclusiveMinimum' when '>=' then 'minimum' end, v_literal)
    end;
    if v_value is null then
        return null;
    end if;
    v_path := format('strict $.%s %s %s', to_jsonb(v_field.key), p_operator, v_literal)::jsonpath;
    return jsonb_build_object('properties', jsonb_build_object(v_field.key, v_value))
           || case when jsonb_path_match(jsonb_build_object(v_field.key, coalesce(v_field.default_value, 'null')), v_path, '{}', true)
                   then '{}' else jsonb_build_object('required', jsonb_build_array(v_field.key)) end;
end
$$;

comment on function _comparison_schema(text, jsonb, text, jsonb) is
'JSON Schema for a comparison in a rule ({"key": …} or {"literal": …} on either side); null if it can''t say that.';
select _allow('_comparison_schema', 'admin');
