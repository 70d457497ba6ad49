-- All that settings_relay may write of settings as it likes (watch_rollouts() writes what admins began). Registers the probe, or brings it back, as need be; its Telegram ID, which begins with
-- zeros as no real one does, is left to whoever took it. Every hundredth version removes old ones: those beyond the newest hundred
-- that went out of force more than ten minutes ago, so that years of probing keep a few hundred of each document.
-- Several fields with the same text, so that a torn read shows. Locks as upsert_user_setting() does.
create or replace function write_probe(p_setting_type text, p_text text)
returns user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_telegram_id text := (select t.id from (values ('000000000000001')) as t (id) where _telegram_is_free(t.id));
    v_row         user_settings;
begin
    perform check_confinement(probe_okx_uid());
    if not exists (select from app_users u where u.okx_uid = probe_okx_uid()) then
        insert into app_users (okx_uid, telegram_id, name) values (probe_okx_uid(), v_telegram_id, 'the relay''s probe, no user')
            on conflict do nothing;    -- another relay's, at the same moment
    else
        update app_users u set deleted_at = null, telegram_id = v_telegram_id
         where u.okx_uid = probe_okx_uid() and (u.deleted_at is not null or u.telegram_id is null and v_telegram_id is not null);
    end if;
    v_row := upsert_user_setting(probe_okx_uid(), p_setting_type,
                                 jsonb_build_object('probe', p_text, 'again', p_text, 'nested', jsonb_build_object('text', p_text)));
    if v_row.version % 100 = 0 then
        perform prune_user_settings(100, '10 minutes', probe_okx_uid());
    end if;
    return v_row;
end
$$;

comment on function write_probe(text, text) is
'Saves a document of the relay''s probe (probe_okx_uid()) that says p_text, and returns its row. Used by relay --probe. Raises US002, US012.';
select _allow('write_probe', 'relay admin');
