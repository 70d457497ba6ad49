-- Documents that are there stay as they are; whatever is saved from now on must keep to it, the default, too. Idempotent.
-- Locks the field.
create or replace function save_setting_field(
    p_setting_type   text,
    p_key            text,
    p_json_type      text,
    p_default_value  jsonb default null,
    p_minimum        numeric default null,
    p_maximum        numeric default null,
    p_choices        text[] default null,
    p_is_nullable    boolean default false,
    p_is_secret      boolean default false,
    p_description    text default null,
    p_description_ko text default null,
    p_is_hot         boolean default null
)
returns setting_fields
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row        setting_fields;
    v_constraint text;
    v_most       constant numeric := 1.7976931348623157e308;    -- as _document_problem()
begin
    if p_setting_type <> (check_setting_type(p_setting_type)).setting_type then
        raise exception using errcode = 'US010', message = 'the catalogue is of a setting type, not of a symbol''s document';
    end if;
    p_key := normalize(p_key);    -- as _normalised_setting() brings documents to it
    if cardinality(p_choices) > 0 then
        p_choices := array(select normalize(c.choice) from unnest(p_choices) with ordinality c (choice, place) order by c.place);
    end if;
    p_default_value := case jsonb_typeof(p_default_value)
        when 'string' then case when p_choices is null then p_default_value else to_jsonb(normalize(p_default_value #>> '{}')) end
        when 'number' then case when p_json_type = 'integer' and p_default_value::numeric % 1 = 0 then to_jsonb(trunc(p_default_value::numeric))
                                else p_default_value end
        else p_default_value end;
    v_row := (p_setting_type, p_key, p_json_type, p_is_nullable, p_default_value, p_minimum, p_maximum, p_choices, p_is_secret,
              p_description, p_description_ko, p_is_hot);
    if greatest(abs(p_minimum), abs(p_maximum)) > v_most or array_position(p_choices, null) is not null or p_choices = '{}'
       or not _is_valid_value(v_row, p_default_value) then
        raise exception using errcode = 'US010',
            message = 'not a field as there can be one',
            hint = 'Limits are within a double''s range, choices are texts, and the default is what the field allows.';
    end if;
    insert into setting_fields as f select v_row.*
        on conflict (setting_type, key) do update
       set json_type = excluded.json_type, is_nullable = excluded.is_nullable, default_value = excluded.default_value,
           minimum = excluded.minimum, maximum = excluded.maximum, choices = excluded.choices, is_secret = excluded.is_secret,
           description = coalesce(excluded.description, f.description), description_ko = coalesce(excluded.description_ko, f.description_ko),
           is_hot = coalesce(excluded.is_hot, f.is_hot)
    returning f.* into v_row;
    if exists (select from _broken_rules(p_setting_type, default_user_setting(p_setting_type)) r where p_key = any (r.keys)) then
        raise exception using errcode = 'US010',
            message = 'not a field as there can be one',
            detail = 'with this default, the catalogue''s defaults break a rule';
    end if;
    return v_row;
exception
    when check_violation or not_null_violation then
        get stacked diagnostics v_constraint = constraint_name;
        raise exception using errcode = 'US010',
            message = 'not a field as there can be one',
            detail = coalesce(nullif(v_constraint, ''), 'a value is missing'),
            hint = 'A key has 1-64 characters; json_type is string, number, integer, boolean, object or array; only numbers have limits, only strings choices; a description has at most 1000 characters.';
end
$$;

comment on function save_setting_field(text, text, text, jsonb, numeric, numeric, text[], boolean, boolean, text, text, boolean) is
'Lists a key of a setting type in the catalogue, in place of what it said of it before; key and choices in Unicode''s form NFC. p_description, p_description_ko: what it is for, in English and Korean (null: as it is; '''': nothing). p_is_hot: false, if it may only be changed while the bot is stopped, see lock_cold_keys() (null: as it is). Example: select save_setting_field(''alerts'', ''loss_percent'', ''number'', ''5'', 0, 100). Raises US002, US010 (no such field can be; or a rule doesn''t let the default be).';
select _allow('save_setting_field', 'admin');
