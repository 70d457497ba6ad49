-- Locks out writers, so that rows can be copied in word for word. p_replace: WHAT IS THERE IS LOST, but for the probe, which no
-- backup has: Redis has its keys, and relays go on probing. US012 in a confined session.
create or replace function begin_restore(p_replace boolean default false)
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_found text;
begin
    perform check_confinement(null);
    lock table scheduled_changes, scheduled_change_users, rollouts, rollout_users, rollout_results,    -- as relays do, each second
               app_users, telegram_links, user_settings, okx_api_info, setting_templates, setting_types, setting_fields, setting_rules,
               mirror_pending, trades, trade_orders, trading_halts, setting_locks in exclusive mode;
    select string_agg(t.name, ', ' order by t.name) into v_found    -- only now: it waited for writers and other restores
      from (select 'users' from app_users u where u.okx_uid <> probe_okx_uid()
            union select 'settings' from user_settings s where s.okx_uid <> probe_okx_uid()
            union select 'Telegram links' from telegram_links l where l.last_okx_uid is distinct from probe_okx_uid() union select 'templates' from setting_templates
            union select 'halts of trading' from trading_halts) as t (name);
    if v_found is not null and not p_replace then
        raise exception using errcode = 'US011',
            message = 'the database is not empty',
            detail = format('There are: %s.', v_found),
            hint = 'Restore into a new database, or say what is to become of what is there.';
    end if;
    alter table app_users disable trigger user;
    alter table telegram_links disable trigger user;
    alter table user_settings disable trigger user;
    alter table okx_api_info disable trigger user;
    alter table setting_types disable trigger user;
    alter table setting_templates disable trigger user;
    insert into trigger_permits (permit) values ('restore');    -- until end_restore(): policies.sql
    insert into trigger_permits (permit) values ('removal');    -- a hypertable's triggers can't be disabled
    delete from trades;
    delete from trade_orders;
    delete from trading_halts;
    delete from setting_locks;
    delete from trigger_permits p where p.permit = 'removal';
    delete from rollouts;    -- and what belongs to them
    delete from setting_templates;
    delete from scheduled_changes;
    delete from user_settings s where s.okx_uid <> probe_okx_uid();
    delete from okx_api_info;
    delete from telegram_links l where l.last_okx_uid is distinct from probe_okx_uid();
    delete from app_users u where u.okx_uid <> probe_okx_uid();
    delete from setting_rules;
    delete from setting_fields;
    delete from setting_types;
    delete from mirror_pending m where not m.erased;    -- who was erased may still be in Redis
end
$$;

comment on function begin_restore(boolean) is
'Empties the tables and takes their triggers off, for a backup to be copied in. Raises US011 (not empty) unless p_replace. Followed by end_restore() in the same transaction.';
select _allow('begin_restore', 'admin');
