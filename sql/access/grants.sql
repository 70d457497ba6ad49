-- Who may read and write which table or view, and nothing else: whatever the four roles have in the schema public on tables of
-- the user who migrates is taken from them, and given by this list; what belongs to an extension is left alone. (Objects of
-- your own: grant them to roles of your own.) The rights of functions are in their own files: _allow().
-- Of setting_types, setting_fields, setting_rules, telegram_links, scheduled changes, rollouts, halts and locks, the insert is a
-- restore's: see policies.sql.
-- docs/security.md shows the same. A role that is missing is left out. Nobody else may make objects in the schema that the
-- functions' search_path names.
do $$
declare
    v_roles  text := (select string_agg(quote_ident(r.rolname), ', ') from pg_roles r
                      where r.rolname in ('settings_reader', 'settings_writer', 'settings_relay', 'settings_admin'));
    v_makers text;
    v_grant  record;
begin
    if exists (select from pg_namespace n, aclexplode(n.nspacl) a
                where n.nspname = 'public' and a.grantee = 0 and a.privilege_type = 'CREATE') then
        revoke create on schema public from public;    -- the default up to PostgreSQL 14
    end if;
    select string_agg(coalesce(quote_ident(r.rolname), 'PUBLIC'), ', ' order by r.rolname) into v_makers
      from pg_namespace n
     cross join aclexplode(n.nspacl) a
      left join pg_roles r on r.oid = a.grantee
     where n.nspname = 'public' and a.privilege_type = 'CREATE' and r.rolsuper is not true
       and a.grantee <> all (array(select n.nspowner union all
                                   select c.relowner from pg_class c where c.oid = to_regclass('public.user_settings')));
    if v_makers is not null then    -- they were given it on purpose, and may need it for tables of their own
        raise warning 'who may create objects in the schema public can have them run as the owner of the store: revoke that from %', v_makers;
    end if;
    if v_roles is null then
        return;
    end if;
    if not has_schema_privilege('public', 'public', 'usage') then
        execute format('grant usage on schema public to %s', v_roles);
    end if;
    execute (select format('revoke all on table %s from %s', string_agg(c.oid::regclass::text, ', '), v_roles) from pg_class c
              where c.relkind in ('r', 'p', 'v') and c.relnamespace = 'public'::regnamespace and pg_has_role(c.relowner, 'usage')
                and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'));

    for v_grant in
        select format('grant %s on %s to %s', w.privileges, w.names, string_agg(format('%I', r.rolname), ', ')) as statement
          from (values
            ('admin', 'select, insert, update, delete', 'app_users, user_settings, okx_api_info, setting_templates, mirror_pending, trades,'
             ' trade_orders, ohlcv_1m, ohlcv_3m, ohlcv_5m, ohlcv_15m, ohlcv_30m, ohlcv_1h, ohlcv_4h, ohlcv_1d'),
            ('admin', 'select, insert', 'setting_types, setting_fields, setting_rules, telegram_links, scheduled_changes, scheduled_change_users,'
             ' rollouts, rollout_users, rollout_results, trading_halts, setting_locks'),
            ('admin', 'select', 'timeframes, hypertable_settings, mirror_verifications, mirror_epochs, halts_version'),
            ('relay admin', 'select', 'mirror_source'),
            ('reader writer admin', 'select', 'ohlcv_1w'),
            ('reader writer relay admin', 'select', '_yoyo_migration, schema_objects, schema_parts')
          ) as w (roles, privileges, names)
          join pg_roles r on r.rolname = any (array(select 'settings_' || s.name from string_to_table(w.roles, ' ') as s (name)))
         group by w.roles, w.privileges, w.names
    loop
        execute v_grant.statement;
    end loop;
end
$$;
