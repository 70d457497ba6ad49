-- What was in force before the deletion. Idempotent. The reason, unless one is given: restored.
-- Locks the user's row (for share), then the active row.
create or replace function restore_user_setting(
    p_identifier       text,
    p_setting_type     text,
    p_expected_version integer default null,
    p_symbol           text default null
)
returns user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user  app_users := _lock_user(p_identifier);
    v_given text := _note_reason('restored');
    v_name  text := _with_symbol(p_setting_type, p_symbol);
    v_row   user_settings;
begin
    perform check_setting_type(v_name);
    perform from user_settings s
      where s.user_id = v_user.id and s.setting_type = v_name and s.is_active for no key update;
    select * into v_row from user_settings s
     where s.user_id = v_user.id and s.setting_type = v_name
       and s.version = _restorable_version(v_user.id, v_name);
    if not found then
        raise exception using errcode = 'US006',
            message = format('there is no %s of user %s to restore', v_name, v_user.okx_uid),
            detail = 'nothing was ever saved';
    end if;
    v_row := upsert_user_setting(v_user.okx_uid, v_name, v_row.settings, p_expected_version);    -- the locked user's
    perform set_config('settings_store.reason', v_given, true);
    return v_row;
end
$$;

comment on function restore_user_setting(text, text, integer, text) is
'Brings a deleted document back as a new version and returns its row; what isn''t deleted stays. p_symbol: that of the symbol. Raises US001, US002, US003, US004, US006 (nothing was ever saved), US007, US010.';
select _allow('restore_user_setting', 'writer admin');
