-- A document as it is stored, before anybody compares or checks it: readers take an integer for int("4"), and a choice and a key
-- byte by byte. So
--   an integer of the catalogue has no decimal places: 4.0 becomes 4
--   a text that isn't one of the choices but looks like one (in another Unicode form, as decomposed Hangul) becomes that choice
--   a key that looks like one that the catalogue lists becomes that one, unless the document has that, too
-- Only keys that aren't plain ASCII are looked for in other forms. What is no object comes back as it is. Reads only.
create or replace function _normalised_setting(p_setting_type text, p_settings jsonb)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_members jsonb;
    v_others  text[];    -- other forms of keys
begin
    if jsonb_typeof(p_settings) is distinct from 'object' then
        return p_settings;
    end if;
    select jsonb_object_agg(f.key, coalesce(n.value, v.value)), array_agg(k.key) filter (where k.key <> f.key) into v_members, v_others
      from setting_fields f
     cross join lateral (select case when octet_length(f.key) = length(f.key) or p_settings ? f.key then f.key
                                     else (select d.key from jsonb_object_keys(p_settings) d (key)
                                            where normalize(d.key) = normalize(f.key) limit 1) end as key offset 0) k
     cross join lateral (select p_settings -> k.key as value offset 0) v
     cross join lateral (select case jsonb_typeof(v.value)
           when 'number' then case when f.json_type = 'integer' and scale(v.value::numeric) > 0 and v.value::numeric % 1 = 0
                                   then to_jsonb(trunc(v.value::numeric)) end
           when 'string' then case when f.choices is not null and v.value #>> '{}' <> all (f.choices)
                                   then (select to_jsonb(c) from unnest(f.choices) c where normalize(c) = normalize(v.value #>> '{}') limit 1) end
           end as value offset 0) n
     where f.setting_type = split_part(p_setting_type, ':', 1) and (f.json_type = 'integer' or f.choices is not null or octet_length(f.key) > length(f.key))
       and (n.value is not null or k.key <> f.key);
    return (p_settings - coalesce(v_others, '{}')) || coalesce(v_members, '{}');
end
$$;

comment on function _normalised_setting(text, jsonb) is
'A document as it is stored: integers of the catalogue without decimal places (4.0: 4), and choices and keys that look like those of the catalogue in the form that the catalogue has.';
select _allow('_normalised_setting', 'admin');
