-- An SQL expression body: it is resolved when the function is made, so no search_path can change it, and it is inlined where it
-- is called. Touches no table.
create or replace function _is_valid_value(p_field setting_fields, p_value jsonb)
returns boolean
language sql immutable
return case jsonb_typeof(p_value)
    when 'null'   then (p_field).is_nullable
    when 'number' then (p_field).json_type in ('number', 'integer')
                   and p_value::numeric between coalesce((p_field).minimum, '-infinity') and coalesce((p_field).maximum, 'infinity')
                   and ((p_field).json_type = 'number' or p_value::numeric % 1 = 0)
    when 'string' then (p_field).json_type = 'string'
                   and not ((p_field).is_secret and p_value = '"********"')    -- secret_mask()
                   and ((p_field).choices is null or p_value #>> '{}' = any ((p_field).choices))
    else (p_field).json_type = jsonb_typeof(p_value)
end;

comment on function _is_valid_value(setting_fields, jsonb) is
'Whether the catalogue allows a value for its key: type, null, range, choices.';
select _allow('_is_valid_value', 'admin');
