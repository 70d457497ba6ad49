-- As json, not jsonb: that would order the keys by their length. Of what holds for the document as a whole JSON Schema can say
-- nothing, nor of many rules: $comment does. The other rules stand below `if`, as generators of code make a type of each part of an
-- `allOf`. Keys and choices are those that are stored (_normalised_setting()). Reads only.
create or replace function setting_schema(p_setting_type text, p_language text default 'en')
returns json
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_type  text := (check_setting_type(p_setting_type)).setting_type;
    v_rules jsonb;
    v_other text;    -- rules that JSON Schema can't say
begin
    if p_language not in ('en', 'ko') or p_language is null then
        raise exception using errcode = 'US010', message = 'descriptions are in English (en) and Korean (ko)';
    end if;
    select jsonb_agg(s.schema || jsonb_build_object('$comment', m.message) order by r.name) filter (where s.schema is not null),
           string_agg(m.message, '; ' order by r.name) filter (where s.schema is null)
      into v_rules, v_other
      from setting_rules r
     cross join lateral (select _rule_schema(v_type, r.rule) as schema offset 0) s
     cross join lateral (select r.name || ': ' || case when p_language = 'ko' then coalesce(r.message_ko, r.message) else r.message end as message) m
     where r.setting_type = v_type;
    return (select json_object_agg(m.name, m.value order by m.place) from (values
        (1, '$schema', to_json('https://json-schema.org/draft/2020-12/schema'::text)),
        (2, '$comment', to_json(concat_ws('; ', 'a document has at most 1 MiB as text, 64 levels, and numbers within a double', v_other))),
        (3, 'title', to_json(v_type)),
        (4, 'type', to_json('object'::text)),
        (5, 'properties', (
            select coalesce(json_object_agg(f.key, _field_schema(f, p_language) order by f.key), '{}') from setting_fields f
             where f.setting_type = split_part(p_setting_type, ':', 1))),
        (6, 'additionalProperties', to_json(true)),
        (7, 'if', json_build_object('allOf', v_rules)),
        (8, 'else', to_json(false))
      ) as m (place, name, value) where m.place < 7 or v_rules is not null);
end
$$;

comment on function setting_schema(text, text) is
'JSON Schema (draft 2020-12) of a setting type''s documents, with defaults, limits, choices and descriptions in p_language (en, ko): it takes what validate_user_setting() takes, but for what $comment names, and for other Unicode forms of choices and keys. Of a rule it says what it can. Example: select setting_schema(''params''). Raises US002, US010.';
select _allow('setting_schema', 'reader writer relay admin');
