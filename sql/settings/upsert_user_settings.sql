-- For callers of the older schema: saves a document by the user's UUID and returns the active row's id.
-- The OKX UID must be that user's (US007); the Telegram ID is ignored, as users are linked by
-- link_telegram() only; numbers and booleans written as text are taken as such. Otherwise as upsert_user_setting().
create or replace function upsert_user_settings(
    p_user_id      uuid,
    p_okx_uid      text,
    p_telegram_id  text,
    p_setting_type text,
    p_settings     jsonb
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if (_resolve_user(p_user_id::text)).okx_uid is distinct from p_okx_uid then
        raise exception using errcode = 'US007',
            message = 'the OKX UID is not that of the user',
            hint = 'Call upsert_user_setting() with one identifier.';
    end if;
    return (upsert_user_setting(p_user_id::text, p_setting_type, _convert_settings(p_setting_type, p_settings))).id;
end
$$;

comment on function upsert_user_settings(uuid, text, text, text, jsonb) is
'For callers of the older schema: saves a document, returns the active row''s id. New code calls upsert_user_setting(). Raises US002, US003, US004, US007.';
select _allow('upsert_user_settings', 'writer admin');
