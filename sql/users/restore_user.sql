-- Credentials, too, as new versions: all or nothing. US003: the catalogue has changed since; US008: the Telegram ID was linked to
-- somebody at this very moment. Locks the user's row, then the settings.
create or replace function restore_user(p_identifier text)
returns app_users
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user  app_users := _resolve_user(p_identifier, true);
    v_given text := _note_reason('user restored');
    v_deleted_at timestamptz;
begin
    select u.deleted_at into v_deleted_at from app_users u where u.id = v_user.id for update;
    update app_users u
       set deleted_at = null, telegram_id = case when _telegram_is_free(u.telegram_id) then u.telegram_id end
     where u.id = v_user.id and u.deleted_at is not null;
    perform restore_user_setting(v_user.okx_uid, s.setting_type)
       from user_settings s
      where s.user_id = v_user.id and s.is_active and s.deleted_at = v_deleted_at;
    update okx_api_info c
       set api_key = o.api_key, api_secret = o.api_secret, passphrase = o.passphrase, deleted_at = null
      from okx_api_info o
     where c.user_id = v_user.id and c.is_active and c.deleted_at = v_deleted_at
       and o.user_id = c.user_id    -- as _restorable_version(): what was found in Redis afterwards was never in force
       and o.version = (select max(k.version) from okx_api_info k
                         where k.user_id = v_user.id and k.api_key is not null
                           and not exists (select from okx_api_info d
                                            where d.user_id = v_user.id and d.api_key is null and d.deleted_at = v_deleted_at
                                              and d.version < k.version));
    perform set_config('settings_store.reason', v_given, true);
    return _resolve_user(v_user.okx_uid);
exception
    when unique_violation then
        raise exception using errcode = 'US008',
            message = format('Telegram ID %s is linked to another user', v_user.telegram_id),
            hint = 'Call it again: the user comes back without.';
end
$$;

comment on function restore_user(text) is
'Brings a deleted user back with the settings that were deleted with the user; with the Telegram ID if it is still free. By OKX UID or UUID; idempotent. Raises US003, US004 (unknown user), US007, US008.';
select _allow('restore_user', 'writer admin');
