-- Compares a document with the catalogue (setting_fields): one row per bad key, no row if all is well.
-- Keys that the catalogue doesn't list pass. Key '$' is the document as a whole: an object of at most
-- 1 MiB as text and 64 levels, numbers within a double's range, so that every reader can parse it.
-- A problem says what is wrong and what is allowed, never the value. Reads only; no lock.
-- It is on the write path: the filter decides, the message is made for bad keys only.
create or replace function validate_user_setting(p_setting_type text, p_settings jsonb)
returns table (key text, problem text)
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if jsonb_typeof(p_settings) is distinct from 'object' then
        return query select '$', format('must be an object, not %s', coalesce(jsonb_typeof(p_settings), 'nothing'));
        return;
    end if;
    if octet_length(p_settings::text) > 1048576 then
        return query select '$', 'must be at most 1 MiB';
    end if;
    if p_settings @? '$.**{64 to last}' then
        return query select '$', 'must be nested at most 64 levels deep';
    end if;
    if p_settings @? '$.** ? (@.type() == "number" && (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308))' then
        return query select '$', 'must not hold a number outside the range of a double';
    end if;

    return query
    select f.key,
           case when t.type = 'null' or t.type <> case f.json_type when 'integer' then 'number' else f.json_type end
                then format('must be of type %s%s, not %s', f.json_type, case when f.is_nullable then ' or null' end, t.type)
                when f.json_type = 'integer' and v.value::numeric % 1 <> 0
                then 'must be a whole number'
                when t.type = 'number'
                then format('must be between %s and %s', coalesce(f.minimum, '-infinity'), coalesce(f.maximum, 'infinity'))
                else format('must be one of: %s', array_to_string(f.choices, ', '))
           end
      from jsonb_each(p_settings) v
      join setting_fields f on f.setting_type = p_setting_type and f.key = v.key
     cross join lateral jsonb_typeof(v.value) as t (type)
     where not case t.type
               when 'null'   then f.is_nullable
               when 'number' then f.json_type in ('number', 'integer')
                              and v.value::numeric between coalesce(f.minimum, '-infinity') and coalesce(f.maximum, 'infinity')
                              and (f.json_type = 'number' or v.value::numeric % 1 = 0)
               when 'string' then f.json_type = 'string' and (f.choices is null or v.value #>> '{}' = any (f.choices))
               else f.json_type = t.type
               end
     order by f.key;
end
$$;

comment on function validate_user_setting(text, jsonb) is
'Checks a document against the catalogue: a row per bad key with the reason, no row if it is valid. Unknown keys pass. Key $ stands for the document as a whole (an object, at most 1 MiB, 64 levels, numbers within a double).';
revoke execute on function validate_user_setting(text, jsonb) from public;
