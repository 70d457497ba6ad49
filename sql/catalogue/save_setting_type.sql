-- Admins have no other way: the names become those of Redis keys. US010 also: another type has the suffix. Idempotent.
-- Waits for writers if the type is there, and differs.
create or replace function save_setting_type(p_setting_type text, p_redis_suffix text, p_redis_encoding text, p_has_symbols boolean default null)
returns setting_types
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row        setting_types;
    v_constraint text;
begin
    insert into setting_types as t (setting_type, redis_suffix, redis_encoding, has_symbols)
    values (p_setting_type, p_redis_suffix, p_redis_encoding, coalesce(p_has_symbols, false))
        on conflict (setting_type) do update
       set redis_suffix = excluded.redis_suffix, redis_encoding = excluded.redis_encoding, has_symbols = coalesce(p_has_symbols, t.has_symbols)
     where (t.redis_suffix, t.redis_encoding, t.has_symbols)
           is distinct from (excluded.redis_suffix, excluded.redis_encoding, coalesce(p_has_symbols, t.has_symbols));
    select * into v_row from setting_types t where t.setting_type = p_setting_type;
    return v_row;
exception
    when check_violation or not_null_violation or unique_violation then
        get stacked diagnostics v_constraint = constraint_name;
        raise exception using errcode = 'US010',
            message = 'not a setting type as there can be one',
            detail = case when v_constraint = 'setting_types_redis_suffix_unique' then 'another type has this suffix'
                          else coalesce(nullif(v_constraint, ''), 'a value is missing') end,
            hint = 'Name and suffix have 1-63 of the characters a-z, 0-9, _ (the suffix also :), the first a letter, and aren''t taken by the store; the encoding is hash or json.';
end
$$;

comment on function save_setting_type(text, text, text, boolean) is
'Makes a setting type, or changes one that nothing was saved under yet. Example: select save_setting_type(''alerts'', ''alerts'', ''hash''). p_has_symbols: whether users may have documents of symbols, too (null: as it is). Raises US005 (in use), US010 (bad name, suffix or encoding).';
select _allow('save_setting_type', 'admin');
