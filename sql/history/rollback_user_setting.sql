-- Back to a version that is a deletion means deleting. Nothing happens if that is what is active. The reason, unless one is
-- given: rollback to version N. US003: the catalogue has changed since.
-- Locks the user's row (for share), so that nobody erases the version meanwhile, then the active row.
create or replace function rollback_user_setting(
    p_identifier       text,
    p_setting_type     text,
    p_version          integer,
    p_expected_version integer default null,
    p_symbol           text default null
)
returns user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user   app_users := _lock_user(p_identifier);
    v_given  text := _note_reason(format('rollback to version %s', p_version));
    v_name   text := _with_symbol(p_setting_type, p_symbol);
    v_target user_settings;
    v_row    user_settings;
begin
    v_target := user_setting_version(v_user.okx_uid, v_name, p_version);    -- the locked user's
    if v_target.settings ?| '{$unreadable,$too_large}' then
        raise exception using errcode = 'US006',
            message = format('version %s is no document', p_version),
            detail = 'It is a note of what was found in Redis.';
    elsif v_target.deleted_at is null then
        v_row := upsert_user_setting(v_user.okx_uid, v_name, v_target.settings, p_expected_version);
    else
        v_row := delete_user_setting(v_user.okx_uid, v_name, p_expected_version);
    end if;
    perform set_config('settings_store.reason', v_given, true);
    return v_row;
end
$$;

comment on function rollback_user_setting(text, text, integer, integer, text) is
'Saves the document of an earlier version as a new version and returns its row; p_symbol: of the document of that symbol. Example: select version from rollback_user_setting(''587662504768345929'', ''params'', 3). Raises US001, US002, US003, US004, US006 (no such version), US007, US010.';
select _allow('rollback_user_setting', 'writer admin');
