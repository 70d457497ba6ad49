-- Documents that are there stay as they are, and readable; whatever is saved from now on must keep to it. So must the defaults,
-- or nobody could be registered. Idempotent. Locks the rule.
create or replace function save_setting_rule(p_setting_type text, p_name text, p_rule text, p_message text, p_message_ko text default null)
returns setting_rules
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row        setting_rules;
    v_constraint text;
    v_unlisted   text;
begin
    if p_setting_type <> (check_setting_type(p_setting_type)).setting_type then
        raise exception using errcode = 'US010', message = 'a rule is of a setting type, not of a symbol''s document',
            hint = 'Documents of symbols keep to the rules of their type.';
    end if;
    if length(p_rule) > 4000 then
        raise exception using errcode = 'US010', message = 'not a rule as there can be one', detail = 'it has more than 4000 characters';
    end if;
    v_row := (p_setting_type, p_name, null, ('strict ' || regexp_replace(normalize(p_rule), '^\s*strict\s', ''))::jsonpath, p_message, p_message_ko);
    v_row.keys := array(select distinct substr(t.token, 3)::jsonb #>> '{}' from unnest(_rule_tokens(v_row.rule)) as t (token) where t.token like '$%');
    select string_agg(k.key, ', ') into v_unlisted from unnest(v_row.keys) as k (key)
     where not exists (select from setting_fields f where f.setting_type = p_setting_type and f.key = k.key);
    if _rule_tokens(v_row.rule) is null or v_unlisted is not null then
        raise exception using errcode = 'US010',
            message = 'not a rule as there can be one',
            detail = coalesce('not in the catalogue: ' || left(v_unlisted, 500), 'it has more than a rule may'),
            hint = 'A rule compares keys of the catalogue ($.key), numbers, texts, true, false and null by == != < <= > >= and starts with; it may calculate by + - * / %, and join by && || !.';
    end if;
    insert into setting_rules as r select v_row.*
        on conflict (setting_type, name) do update
       set keys = excluded.keys, rule = excluded.rule, message = excluded.message, message_ko = excluded.message_ko
    returning r.* into v_row;
    if exists (select from _broken_rules(p_setting_type, default_user_setting(p_setting_type)) b where b.name = p_name) then
        raise exception using errcode = 'US010',
            message = 'not a rule as there can be one',
            detail = 'the catalogue''s defaults break it',
            hint = 'A key without a default counts as null where a document lacks it.';
    end if;
    return v_row;
exception
    when syntax_error or data_exception then
        raise exception using errcode = 'US010', message = 'not a rule as there can be one', detail = 'no jsonpath';
    when check_violation or not_null_violation then
        get stacked diagnostics v_constraint = constraint_name;
        raise exception using errcode = 'US010',
            message = 'not a rule as there can be one',
            detail = coalesce(nullif(v_constraint, ''), 'a value is missing'),
            hint = 'A name has 1-63 of the characters a-z, 0-9, _, the first a letter; a message 1-500 characters; a rule names a key.';
end
$$;

comment on function save_setting_rule(text, text, text, text, text) is
'Makes a rule that several keys of a document must keep to together, in place of an earlier one of this name: a jsonpath that is true of such a document, read as strict. A key that a document lacks counts as its default, or null. Example: select save_setting_rule(''params'', ''rsi_levels'', ''$.rsi_oversold < $.rsi_overbought'', ''rsi_oversold must be below rsi_overbought'', ''rsi_oversold는 rsi_overbought보다 작아야 합니다''). Raises US002, US010 (no such rule can be; the catalogue''s defaults break it).';
select _allow('save_setting_rule', 'admin');
