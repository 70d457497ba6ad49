-- Who may do what, and nothing else: whatever the four roles have in the schema public on objects of the user who migrates
-- is taken from them, and given by this table; what belongs to an extension is left alone. (Objects of your own: grant them
-- to roles of your own.)
-- Of setting_types, setting_fields and telegram_links, the insert is a restore's: see policies.sql.
-- docs/security.md shows the same. What reader, writer or relay may call is security definer; of what only the admin may
-- call, that which takes the rights of the tables' owner. A role that is missing is left out. Nobody else may make objects
-- in the schema that the functions' search_path names.
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
    execute (select format('revoke all on routine %s from %s', string_agg(p.oid::regprocedure::text, ', '), v_roles) from pg_proc p
              where p.pronamespace = 'public'::regnamespace and pg_has_role(p.proowner, 'usage')
                and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'));
    execute (select format('revoke all on table %s from %s', string_agg(c.oid::regclass::text, ', '), v_roles) from pg_class c
              where c.relkind in ('r', 'p', 'v') and c.relnamespace = 'public'::regnamespace and pg_has_role(c.relowner, 'usage')
                and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'));

    for v_grant in
        select format('grant %s on %s to %I', w.privileges, coalesce('function ' || p.oid::regprocedure, w.name), r.rolname) as statement
          from (values
        ('api_credentials_history',   'reader writer       admin', 'execute'),
        ('apply_setting_template',    '                    admin', 'execute'),
        ('arrange_hypertables',       '                    admin', 'execute'),
        ('begin_candle_import',       '       writer       admin', 'execute'),
        ('begin_restore',             '                    admin', 'execute'),
        ('_candle_table',              '                    admin', 'execute'),
        ('changes_as_json',           '                    admin', 'execute'),
        ('_check_candles',             '                    admin', 'execute'),
        ('check_confinement',         '                    admin', 'execute'),
        ('_check_erasures',            '                    admin', 'execute'),
        ('check_identifiers',         '                    admin', 'execute'),
        ('_check_length',              '                    admin', 'execute'),
        ('_check_owner',               '                    admin', 'execute'),
        ('check_setting_type',        'reader writer relay admin', 'execute'),
        ('_check_settings',            '                    admin', 'execute'),
        ('_check_side',                '                    admin', 'execute'),
        ('_check_version',             '                    admin', 'execute'),
        ('clear_erased',              '              relay admin', 'execute'),
        ('clear_pending',             '       writer relay admin', 'execute'),
        ('_compare_documents',         '                    admin', 'execute'),
        ('confined_owners',           '                    admin', 'execute'),
        ('confined_to',               '                    admin', 'execute'),
        ('_convert_settings',          '                    admin', 'execute'),
        ('database_identity',         '              relay admin', 'execute'),
        ('default_user_setting',      'reader writer       admin', 'execute'),
        ('delete_api_credentials',    '       writer       admin', 'execute'),
        ('delete_setting_field',      '                    admin', 'execute'),
        ('delete_setting_template',   '                    admin', 'execute'),
        ('delete_setting_type',       '                    admin', 'execute'),
        ('delete_user',               '       writer       admin', 'execute'),
        ('delete_user_setting',       '       writer       admin', 'execute'),
        ('diff_user_setting',         'reader writer       admin', 'execute'),
        ('_document_changes',          '                    admin', 'execute'),
        ('_document_problem',          '                    admin', 'execute'),
        ('end_restore',               '                    admin', 'execute'),
        ('ensure_user',               '       writer       admin', 'execute'),
        ('_erase_predecessor',         '                    admin', 'execute'),
        ('erase_unknown',             '                    admin', 'execute'),
        ('erase_user',                '                    admin', 'execute'),
        ('erased_owners',             '       writer relay admin', 'execute'),
        ('_erasure_digest',            '                    admin', 'execute'),
        ('erasures',                  '       writer       admin', 'execute'),
        ('export_users',              'reader writer       admin', 'execute'),
        ('fail_pending',              '       writer relay admin', 'execute'),
        ('find_user',                 'reader writer relay admin', 'execute'),
        ('find_users_by_setting',     'reader writer       admin', 'execute'),
        ('_forget_erased',             '                    admin', 'execute'),
        ('get_api_credentials',       'reader writer       admin', 'execute'),
        ('get_candles',               'reader writer       admin', 'execute'),
        ('get_trades',                'reader writer       admin', 'execute'),
        ('get_user_settings',         'reader writer       admin', 'execute'),
        ('_has_predecessor',           '                    admin', 'execute'),
        ('import_documents',          '       writer       admin', 'execute'),
        ('import_links',              '       writer       admin', 'execute'),
        ('import_users',              '                    admin', 'execute'),
        ('installed_definition',      'reader writer relay admin', 'execute'),
        ('_is_encrypted',              '                    admin', 'execute'),
        ('is_erased',                 '                    admin', 'execute'),
        ('_is_permitted',              '                    admin', 'execute'),
        ('_is_valid_value',            '                    admin', 'execute'),
        ('keep_documents',            '       writer relay admin', 'execute'),
        ('keep_losing_credentials',   '       writer relay admin', 'execute'),
        ('_keep_losing_document',      '                    admin', 'execute'),
        ('_keep_trades',               '                    admin', 'execute'),
        ('last_verification',         'reader writer relay admin', 'execute'),
        ('link_telegram',             '       writer       admin', 'execute'),
        ('list_api_credentials',      '       writer relay admin', 'execute'),
        ('list_deleted_users',        'reader writer       admin', 'execute'),
        ('list_setting_fields',       'reader writer relay admin', 'execute'),
        ('list_setting_templates',    'reader writer       admin', 'execute'),
        ('list_setting_types',        'reader writer relay admin', 'execute'),
        ('list_users',                'reader writer       admin', 'execute'),
        ('_lock_user',                 '                    admin', 'execute'),
        ('_mark_erased',               '                    admin', 'execute'),
        ('_mark_pending',              '                    admin', 'execute'),
        ('_mask_secrets',              '                    admin', 'execute'),
        ('merge_candles',             '       writer       admin', 'execute'),
        ('_merge_patch',               '                    admin', 'execute'),
        ('mirror_entries',            'reader writer relay admin', 'execute'),
        ('mirror_state',              'reader writer relay admin', 'execute'),
        ('missing_candles',           'reader writer       admin', 'execute'),
        ('missing_setting_keys',      'reader writer       admin', 'execute'),
        ('note_deleted_key',          '       writer relay admin', 'execute'),
        ('_note_link',                 '                    admin', 'execute'),
        ('_note_reason',               '                    admin', 'execute'),
        ('patch_user_setting',        '       writer       admin', 'execute'),
        ('_patched_setting',           '                    admin', 'execute'),
        ('pending_keys',              '       writer relay admin', 'execute'),
        ('pending_lag',               '              relay admin', 'execute'),
        ('prune_user_settings',       '                    admin', 'execute'),
        ('record_trade',              '       writer       admin', 'execute'),
        ('record_trades',             '       writer       admin', 'execute'),
        ('record_verification',       '              relay admin', 'execute'),
        ('reencrypt_api_credentials', '                    admin', 'execute'),
        ('register_user',             '       writer       admin', 'execute'),
        ('_resolve_user',              '                    admin', 'execute'),
        ('_restorable_version',        '                    admin', 'execute'),
        ('restore_user',              '       writer       admin', 'execute'),
        ('restore_user_setting',      '       writer       admin', 'execute'),
        ('retry_pending',             '              relay admin', 'execute'),
        ('rollback_user_setting',     '       writer       admin', 'execute'),
        ('rollback_user_settings',    '       writer       admin', 'execute'),
        ('rollup_candles',            '       writer       admin', 'execute'),
        ('save_api_credentials',      '       writer       admin', 'execute'),
        ('save_hypertable_settings',  '                    admin', 'execute'),
        ('save_setting_field',        '                    admin', 'execute'),
        ('save_setting_template',     '                    admin', 'execute'),
        ('save_setting_type',         '                    admin', 'execute'),
        ('save_user_settings',        '       writer       admin', 'execute'),
        ('seal_plain_credentials',    '              relay admin', 'execute'),
        ('seal_api_credentials',      '                    admin', 'execute'),
        ('secret_mask',               '                    admin', 'execute'),
        ('setting_template',          'reader writer       admin', 'execute'),
        ('_setting_version_at',        '                    admin', 'execute'),
        ('store_statistics',          'reader writer relay admin', 'execute'),
        ('take_over_credentials',     '       writer       admin', 'execute'),
        ('_take_settings',             '                    admin', 'execute'),
        ('_telegram_is_free',          '                    admin', 'execute'),
        ('_timeframe_width',           '                    admin', 'execute'),
        ('timescaledb_state',         'reader writer relay admin', 'execute'),
        ('_trade_problems',            '                    admin', 'execute'),
        ('trade_statistics',          'reader writer       admin', 'execute'),
        ('trade_statistics_by_setting_version', 'reader writer       admin', 'execute'),
        ('unlink_telegram',           '       writer       admin', 'execute'),
        ('_unmask_secrets',            '                    admin', 'execute'),
        ('upsert_candles',            '       writer       admin', 'execute'),
        ('upsert_user_setting',       '       writer       admin', 'execute'),
        ('upsert_user_settings',      '       writer       admin', 'execute'),
        ('_user_problems',             '                    admin', 'execute'),
        ('user_record',               'reader writer       admin', 'execute'),
        ('user_setting_at',           'reader writer       admin', 'execute'),
        ('user_setting_history',      'reader writer       admin', 'execute'),
        ('user_setting_version',      'reader writer       admin', 'execute'),
        ('validate_user_setting',     'reader writer       admin', 'execute'),
        ('_writer_note',               '                    admin', 'execute'),
        ('_write_candles',             '                    admin', 'execute'),
        ('app_users',                 '                    admin', 'select, insert, update, delete'),
        ('hypertable_settings',       '                    admin', 'select'),
        ('mirror_pending',            '                    admin', 'select, insert, update, delete'),
        ('mirror_verifications',      '                    admin', 'select'),
        ('ohlcv_1m',                  '                    admin', 'select, insert, update, delete'),
        ('ohlcv_3m',                  '                    admin', 'select, insert, update, delete'),
        ('ohlcv_5m',                  '                    admin', 'select, insert, update, delete'),
        ('ohlcv_15m',                 '                    admin', 'select, insert, update, delete'),
        ('ohlcv_30m',                 '                    admin', 'select, insert, update, delete'),
        ('ohlcv_1h',                  '                    admin', 'select, insert, update, delete'),
        ('ohlcv_4h',                  '                    admin', 'select, insert, update, delete'),
        ('ohlcv_1d',                  '                    admin', 'select, insert, update, delete'),
        ('okx_api_info',              '                    admin', 'select, insert, update, delete'),
        ('setting_fields',            '                    admin', 'select, insert'),
        ('setting_templates',         '                    admin', 'select, insert, update, delete'),
        ('setting_types',             '                    admin', 'select, insert'),
        ('telegram_links',            '                    admin', 'select, insert'),
        ('timeframes',                '                    admin', 'select'),
        ('trade_orders',              '                    admin', 'select, insert, update, delete'),
        ('trades',                    '                    admin', 'select, insert, update, delete'),
        ('user_settings',             '                    admin', 'select, insert, update, delete'),
        ('ohlcv_1w',                  'reader writer       admin', 'select'),
        ('mirror_source',             '              relay admin', 'select'),
        ('_yoyo_migration',           'reader writer relay admin', 'select'),
        ('schema_objects',            'reader writer relay admin', 'select'),
        ('schema_parts',              'reader writer relay admin', 'select')
          ) as w (name, roles, privileges)
          left join pg_proc p on w.privileges = 'execute' and p.proname = w.name and p.pronamespace = 'public'::regnamespace
          join pg_roles r on r.rolname = any (array(select 'settings_' || s.name from string_to_table(w.roles, ' ') as s (name)))
    loop
        execute v_grant.statement;
    end loop;
end
$$;
