-- Saves a settings document: the whole rule of writing.
--
--   One statement, so no race: the first writer inserts version 1, everybody else updates the active row.
--   The triggers on user_settings do the rest, for raw SQL too:
--     user_settings_version   raises the version, refuses to touch history, records who and why
--     user_settings_archive   keeps the old value as an inactive row
--     user_settings_validate  checks the document against the catalogue (US003)
--     user_settings_owner     checks that the user is alive
--     user_settings_mark      marks the key for Redis, in this same transaction
--
-- Saving what is already active changes nothing and returns the active row (idempotent).
-- p_expected_version: write only if this is the current version (0: there is none yet), else US001.
-- Raises US001, US002, US003, US004, US007. Locks the active row until the transaction ends.
create or replace function upsert_user_setting(
    p_identifier       text,
    p_setting_type     text,
    p_settings         jsonb,
    p_expected_version integer default null
)
returns user_settings
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user           app_users := resolve_user(p_identifier);
    v_row            user_settings;
    v_version_before integer;
begin
    insert into user_settings as s (user_id, okx_uid, telegram_id, setting_type, settings)
    values (v_user.id, v_user.okx_uid, v_user.telegram_id, p_setting_type, p_settings)
    on conflict (user_id, setting_type) where is_active
    do update set settings = excluded.settings, deleted_at = null
        where (s.settings <> excluded.settings or s.deleted_at is not null)
          and s.version = coalesce(p_expected_version, s.version)
    returning * into v_row;

    if found then
        v_version_before := v_row.version - 1;
    else    -- unchanged or another version than expected; the row is locked all the same
        select * into v_row from user_settings s
         where s.user_id = v_user.id and s.setting_type = p_setting_type and s.is_active;
        v_version_before := v_row.version;
    end if;

    if v_version_before <> p_expected_version then
        raise exception using errcode = 'US001',
            message = format('version conflict on %s of user %s', p_setting_type, v_user.okx_uid),
            detail = format('expected version %s, current version %s', p_expected_version, v_version_before),
            hint = 'Read the current version and decide again.';
    end if;
    return v_row;
end
$$;

comment on function upsert_user_setting(text, text, jsonb, integer) is
'Saves a settings document and returns its row with the new version; an unchanged document makes no version. p_identifier: OKX UID, Telegram ID or UUID. p_expected_version: write only if this is the current version (0: none yet). Example: select * from upsert_user_setting(''587662504768345929'', ''params'', ''{"leverage": 10}''). Raises US001 (version conflict), US002 (unknown type), US003 (invalid settings), US004 (unknown user), US007 (bad identifier).';
revoke execute on function upsert_user_setting(text, text, jsonb, integer) from public;
