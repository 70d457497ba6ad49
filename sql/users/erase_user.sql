-- Live or deleted: every version of the settings and of the API credentials, the trades, the own templates, the scheduled changes, the
-- places in rollouts, the halts, the locks, the Telegram links. Backups and the write-ahead log may hold it longer. The marks go when
-- Redis has nothing any more; keyed digests remember who it was: an old copy of Redis brings nobody back.
-- Locks the user's row, then the active settings: who wants to write meanwhile waits, and gets US004. Waits for a sync's
-- batch under way, which would make the user anew from what Redis still has.
create or replace function erase_user(p_identifier text)
returns table (okx_uid text, settings bigint, versions bigint, trades bigint, telegram_ids text[])
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user  app_users;
    v_ended timestamptz;
begin
    lock table erasure_gate in exclusive mode;
    perform nextval('erasure_count');    -- _check_erasures(): what a sync has read of Redis is too old now
    loop
        v_user := _resolve_user(p_identifier, true);
        perform from app_users u where u.id = v_user.id for no key update;    -- stronger, it deadlocks: see user_settings_changed
        exit when found;    -- else erased while we waited
    end loop;
    perform from user_settings s where s.user_id = v_user.id and s.is_active order by s.setting_type for update;
    perform from okx_api_info c where c.user_id = v_user.id and c.is_active for update;
    select coalesce(array_agg(l.telegram_id), '{}') into telegram_ids from telegram_links l
     where l.last_okx_uid = v_user.okx_uid;

    v_ended := (select greatest(max(s.updated_at), clock_timestamp()) from mirror_source s where s.owner = v_user.okx_uid);
    perform _mark_erased(v_user.okx_uid || telegram_ids);

    insert into trigger_permits (permit) values ('removal');
    select v_user.okx_uid, count(*) into okx_uid, settings
      from user_settings s where s.user_id = v_user.id and s.is_active;
    delete from user_settings s where s.user_id = v_user.id;
    get diagnostics versions = row_count;
    delete from okx_api_info c where c.user_id = v_user.id;
    delete from setting_templates t where t.okx_uid = v_user.okx_uid;
    perform _erase_scheduled_changes(v_user);
    delete from trades t where t.user_id = v_user.id;
    get diagnostics trades = row_count;
    delete from trade_orders o where o.user_id = v_user.id;
    delete from trading_halts h where h.okx_uid = v_user.okx_uid;
    delete from setting_locks l where l.okx_uid = v_user.okx_uid;
    delete from telegram_links l where l.telegram_id = any (telegram_ids);
    delete from app_users u where u.id = v_user.id;
    delete from trigger_permits p where p.permit = 'removal';
    perform _erase_predecessor(v_user.id, v_user.okx_uid);
    insert into erased_people (digest, ended_at)
    select _erasure_digest(o), v_ended from unnest(v_user.okx_uid || telegram_ids) o
        on conflict (digest) do update set ended_at = excluded.ended_at, is_back = false;
    return next;
end
$$;

comment on function erase_user(text) is
'Removes everything of a person, history included, and marks the keys for Redis. IRREVOCABLE. Returns what was removed. Raises US004 (unknown user), US007.';
select _allow('erase_user', 'admin');
