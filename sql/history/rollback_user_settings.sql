-- A type that wasn't there then is deleted. A row per type, also where nothing had to change. US003: the catalogue has changed
-- since. Locks the user's row, then the settings in the types' order.
create or replace function rollback_user_settings(p_identifier text, p_at timestamptz)
returns setof user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set datestyle = 'ISO, YMD'
as $$
declare
    v_user  app_users := _lock_user(p_identifier);
    v_given text := _note_reason(format('rollback to %s', p_at));
    v_type  record;
begin
    perform user_setting_at(v_user.okx_uid, null, p_at);    -- raises, also where the loop has nothing to do
    for v_type in
        select s.setting_type, a.settings
          from user_settings s
          left join user_setting_at(v_user.okx_uid, null, p_at) a on a.setting_type = s.setting_type
         where s.user_id = v_user.id and s.is_active
         order by s.setting_type
    loop
        if v_type.settings is null then
            return next delete_user_setting(v_user.okx_uid, v_type.setting_type);
        else
            return next upsert_user_setting(v_user.okx_uid, v_type.setting_type, v_type.settings);
        end if;
    end loop;
    perform set_config('settings_store.reason', v_given, true);
end
$$;

comment on function rollback_user_settings(text, timestamp with time zone) is
'Brings all settings of a user back to what was in force at a moment, as new versions, all or none; returns their rows. Raises US003, US004, US006 (before the first version, or pruned), US007.';
select _allow('rollback_user_settings', 'writer admin');
