-- A problem says what is wrong and what is allowed, never the value. Rules are about values that are valid each for itself: they
-- are asked only where all are. Reads only; no lock.
create or replace function validate_user_setting(p_setting_type text, p_settings jsonb, p_is_partial boolean default false)
returns table (key text, problem text)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_problem text := _document_problem(p_settings);
begin
    perform check_setting_type(p_setting_type);
    if v_problem is not null then
        return query select '$', v_problem;
        return;
    end if;
    p_settings := _normalised_setting(p_setting_type, p_settings);
    return query
    select f.key,
           case when t.type = 'null' or t.type <> case f.json_type when 'integer' then 'number' else f.json_type end
                then format('must be of type %s%s, not %s', f.json_type, case when f.is_nullable then ' or null' end, t.type)
                when f.json_type = 'integer' and v.value::numeric % 1 <> 0
                then 'must be a whole number'
                when t.type = 'number'
                then format('must be between %s and %s', coalesce(f.minimum, '-infinity'), coalesce(f.maximum, 'infinity'))
                when f.is_secret and v.value = secret_mask()
                then 'must be the secret itself, not its mask'
                else format('must be one of: %s', array_to_string(f.choices, ', '))
           end
      from setting_fields f
     cross join lateral (select p_settings -> f.key as value offset 0) v
     cross join lateral jsonb_typeof(v.value) as t (type)
     where f.setting_type = split_part(p_setting_type, ':', 1) and v.value is not null and not _is_valid_value(f, v.value)
     order by f.key;
    if not found then
        return query select '$' || r.name, r.message from _broken_rules(p_setting_type, p_settings, p_is_partial) r;
    end if;
end
$$;

comment on function validate_user_setting(text, jsonb, boolean) is
'Checks a document against the catalogue, as it would be stored (4.0 is 4): a row per bad key with the reason, no row if it is valid. Unknown keys pass. Key $ stands for the document as a whole (an object, at most 1 MiB, 64 levels, numbers within a double), $ and a name for a rule (setting_rules) that it breaks; a key that it lacks counts as its default there. p_is_partial: some keys only, as a template has; only rules that it has all keys of are asked. Raises US002, US010.';
select _allow('validate_user_setting', 'reader writer admin');
