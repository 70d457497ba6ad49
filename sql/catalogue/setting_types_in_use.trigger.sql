-- The old key would stay behind in Redis. Not a foreign key: its check would lock the type's one row in every write, of all
-- writers (measured: a third of the throughput).
create or replace function setting_types_in_use()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_stays boolean := tg_op = 'UPDATE' and (new.setting_type, new.redis_suffix, new.redis_encoding)
                                            = (old.setting_type, old.redis_suffix, old.redis_encoding);
begin
    if v_stays and new.has_symbols >= old.has_symbols then
        return new;
    end if;
    lock table user_settings in share mode;
    if exists (select from user_settings s
                where split_part(s.setting_type, ':', 1) = old.setting_type and (not v_stays or s.setting_type <> old.setting_type)) then
        raise exception using errcode = 'US005',
            message = format('setting type %s is in use', old.setting_type),
            detail = format('The history holds documents of this type%s.', case when v_stays then ' and of symbols' end);
    end if;
    return case tg_op when 'DELETE' then old else new end;
end
$$;

comment on function setting_types_in_use() is
'Trigger on setting_types: refuses to rename, remove or move a type that documents are saved under, or to take symbols from one that has documents of some (US005).';
select _allow('setting_types_in_use');

create or replace trigger setting_types_in_use
    before delete or update of setting_type, redis_suffix, redis_encoding, has_symbols on setting_types
    for each row execute function setting_types_in_use();
