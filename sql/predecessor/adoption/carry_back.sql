-- Before a rollback: what was saved since the adoption goes into the predecessor's tables. The active row of settings and of
-- keys kept its id; rows made since are inserted. Columns by name. A Telegram ID that wasn't taken stays.
alter table predecessor.app_users disable trigger user;
alter table predecessor.user_settings disable trigger user;
alter table predecessor.okx_api_info disable trigger user;

do $$
declare
    v_table   text;
    v_columns text;
    v_values  text;
begin
    foreach v_table in array array['app_users', 'user_settings', 'okx_api_info'] loop
        select string_agg(format('%I', a.attname), ', '), string_agg(format('r.%I', a.attname), ', ')
          into v_columns, v_values
          from pg_attribute a
         where a.attrelid = to_regclass('predecessor.' || v_table) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
           and exists (select from pg_attribute o
                        where o.attrelid = to_regclass('public.' || v_table) and o.attname = a.attname and not o.attisdropped);
        execute format('update predecessor.%1$I p
                           set (%2$s) = (select %3$s
                                           from jsonb_populate_record(p, to_jsonb(o) - case when q.id is null then ''{}'' else ''{telegram_id}''::text[] end) r)
                          from public.%1$I o
                          left join predecessor.quarantine q on %1$L = ''app_users'' and q.table_name = %1$L and q.id = o.id::text
                         where o.id = p.id', v_table, v_columns, v_values);
        execute format('insert into predecessor.%1$I (%2$s)
                        select %3$s from public.%1$I o cross join lateral jsonb_populate_record(null::predecessor.%1$I, to_jsonb(o)) r
                         where not exists (select from predecessor.%1$I p where p.id = o.id)', v_table, v_columns, v_values);
    end loop;
end
$$;

alter table predecessor.app_users enable trigger user;
alter table predecessor.user_settings enable trigger user;
alter table predecessor.okx_api_info enable trigger user;
