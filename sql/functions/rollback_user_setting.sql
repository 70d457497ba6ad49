-- Saves the document of an earlier version again, as a new version; history stays as it is. Back to a version that
-- is a deletion means deleting. Nothing happens if that is what is active. The reason, unless one is given:
-- rollback to version N. Raises US001, US002, US003 (the catalogue has changed since), US004, US006, US007.
-- Locks as upsert_user_setting() does.
create or replace function rollback_user_setting(
    p_identifier       text,
    p_setting_type     text,
    p_version          integer,
    p_expected_version integer default null
)
returns user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_target user_settings := user_setting_version(p_identifier, p_setting_type, p_version);
    v_given  text := note_reason(format('rollback to version %s', p_version));
    v_row    user_settings;
begin
    if v_target.deleted_at is null then
        v_row := upsert_user_setting(p_identifier, p_setting_type, v_target.settings, p_expected_version);
    else
        v_row := delete_user_setting(p_identifier, p_setting_type, p_expected_version);
    end if;
    perform set_config('settings_store.reason', v_given, true);
    return v_row;
end
$$;

comment on function rollback_user_setting(text, text, integer, integer) is
'Saves the document of an earlier version as a new version and returns its row. Example: select version from rollback_user_setting(''587662504768345929'', ''params'', 3). Raises US001, US002, US003, US004, US006 (no such version), US007.';
revoke execute on function rollback_user_setting(text, text, integer, integer) from public;
