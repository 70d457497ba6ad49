-- See erase_user(), whose lock this shares. US001: there are some by now. Locks the user's row (for share). p_reason: for the
-- history, unless the session has one.
create or replace function take_over_credentials(
    p_okx_uid    text,
    p_api_key    text,
    p_api_secret text,
    p_passphrase text,
    p_reason     text default 'found in Redis'
)
returns okx_api_info
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_given text;
    v_row   okx_api_info;
begin
    perform check_identifiers(p_okx_uid, null);
    perform check_confinement(p_okx_uid);
    perform _check_erasures();
    insert into app_users (okx_uid)
    select p_okx_uid where not is_erased(p_okx_uid)
    on conflict do nothing;
    if not exists (select from app_users u where u.okx_uid = p_okx_uid and u.deleted_at is null) then
        return null;
    end if;
    v_given := _note_reason(p_reason);
    v_row := save_api_credentials(p_okx_uid, p_api_key, p_api_secret, p_passphrase, 0);
    perform set_config('settings_store.reason', v_given, true);
    return v_row;
end
$$;

comment on function take_over_credentials(text, text, text, text, text) is
'Saves API credentials that only Redis has, encrypted by the caller, and makes the user if need be; no row for a deleted or erased user. Used by sync. Raises US001, US003, US007, US012.';
select _allow('take_over_credentials', 'writer admin');
