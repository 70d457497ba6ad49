-- Idempotent; no row (all columns null) if there were none. Locks the user's row (for share), then the active row.
create or replace function delete_api_credentials(p_identifier text, p_expected_version integer default null)
returns okx_api_info
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _lock_user(p_identifier);
    v_row  okx_api_info;
begin
    select * into v_row from okx_api_info c where c.user_id = v_user.id and c.is_active for no key update;
    perform _check_version(p_expected_version, coalesce(v_row.version, 0), 'credentials', v_user.okx_uid);
    if v_row.deleted_at is null then
        update okx_api_info c set api_key = null, api_secret = null, passphrase = null, deleted_at = clock_timestamp()
         where c.id = v_row.id
        returning * into v_row;
    end if;
    return v_row;
end
$$;

comment on function delete_api_credentials(text, integer) is
'Deletes a user''s API credentials, as a version of its own; the old ones stay in the history, encrypted. Raises US001, US004, US007.';
select _allow('delete_api_credentials', 'writer admin');
