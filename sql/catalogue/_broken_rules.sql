-- A key that the document lacks counts as its default, by which readers go, or as null; so every key of a rule has a value.
-- What can't be compared or calculated is broken. p_is_partial: as long as a key is missing, the rule says nothing yet.
-- The quick looks (user_settings_version(), _take_settings()) ask for the document alone: what is true of it is true with
-- the defaults, too, as _rule_tokens() has it. Reads only.
create or replace function _broken_rules(p_setting_type text, p_settings jsonb, p_is_partial boolean default false)
returns setof setting_rules
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select r.* from setting_rules r
     cross join lateral (select jsonb_object_agg(f.key, coalesce(f.default_value, 'null')) as document from setting_fields f
                          where f.setting_type = split_part(p_setting_type, ':', 1) and f.key = any (r.keys)) defaults
     where r.setting_type = split_part(p_setting_type, ':', 1) and (not p_is_partial or p_settings ?& r.keys)
       and jsonb_path_match(defaults.document || p_settings, r.rule, '{}', true) is not true
     order by r.name
$$;

comment on function _broken_rules(text, jsonb, boolean) is
'The rules that a document breaks whose keys are valid each for itself; p_is_partial: of those only that it has all keys of.';
select _allow('_broken_rules', 'admin');
