-- A document as the catalogue's types have it: what isn't a value of its key's type, but stands for one, becomes that one.
-- Older programs wrote numbers and booleans as text ("30", "True"), booleans as 0 and 1, objects as the text of their JSON.
-- What the catalogue allows as it is stays, so does what would still be wrong afterwards: validate_user_setting() names it.
-- Values of keys that aren't listed, and texts of keys that hold text, stay whatever they look like.
-- p_texts: if the document was a Redis hash, the raw texts of keys whose text may mean something else than the value in
-- p_settings that it reads as: a key that holds text has it as it is, and '', None or null is null, or a key never set.
-- Reads only.
create or replace function _convert_settings(p_setting_type text, p_settings jsonb, p_texts jsonb default '{}')
returns jsonb
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_field  setting_fields;
    v_value  jsonb;
    v_text   text;
    v_result jsonb := p_settings;
begin
    if jsonb_typeof(p_settings) is distinct from 'object' then
        return p_settings;
    end if;
    for v_field in
        select f.* from setting_fields f
         cross join lateral (select p_settings -> f.key as value offset 0) v
         where f.setting_type = split_part(p_setting_type, ':', 1) and v.value is not null
           and (not _is_valid_value(f, v.value) or f.json_type = 'string' and p_texts ? f.key)
    loop
        v_value := p_settings -> v_field.key;
        v_text := p_texts ->> v_field.key;
        if v_field.is_nullable and (v_text in ('', 'None', 'null')
                                    or v_value in ('""', '"None"', '"null"') and not _is_valid_value(v_field, v_value)) then
            v_value := 'null';
        elsif v_text in ('', 'None', 'null') and v_field.json_type <> 'string' then
            v_result := v_result - v_field.key;
            continue;
        elsif v_field.json_type = 'string' then
            v_value := coalesce(to_jsonb(v_text), v_value);
        elsif v_field.json_type = 'boolean' then
            v_text := lower(v_value #>> '{}');
            v_value := case when v_text in ('true', '1') then 'true' when v_text in ('false', '0') then 'false' end::jsonb;
        elsif jsonb_typeof(v_value) = 'string' then
            v_text := btrim(v_value #>> '{}', E' \t\r\n');
            v_value := null;
            if v_field.json_type in ('object', 'array') then
                begin
                    v_value := v_text::jsonb;
                exception when others then null;    -- no JSON, or more than jsonb holds
                end;
            elsif length(v_text) <= 1000 and v_text ~ '^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$' then
                v_value := to_jsonb(v_text::numeric);
            end if;
        end if;
        if _is_valid_value(v_field, v_value) and (v_field.json_type = 'boolean' or _document_problem(jsonb_build_object('', v_value)) is null) then
            v_result := v_result || jsonb_build_object(v_field.key, v_value);
        end if;
    end loop;
    return v_result;
end
$$;

comment on function _convert_settings(text, jsonb, jsonb) is
'The document with what stands for a value of its key''s type, by the catalogue, made one: "30" for a number, "True", 1 or 0 for a boolean. All that the catalogue allows as it is, or that would still be wrong, stays. p_texts: the raw texts of a Redis hash. Used by adoption and sync.';
select _allow('_convert_settings', 'admin');
