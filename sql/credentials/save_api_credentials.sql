-- Each is encrypted for this OKX UID and field: see store/encryption/vault.py.
-- Locks the user's row (for share), then the active row.
create or replace function save_api_credentials(
    p_identifier       text,
    p_api_key          text,
    p_api_secret       text,
    p_passphrase       text,
    p_expected_version integer default null
)
returns okx_api_info
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
    v_row  okx_api_info;
begin
    loop
        v_user := _lock_user(p_identifier);
        select * into v_row from okx_api_info c where c.user_id = v_user.id and c.is_active for no key update;
        perform _check_version(p_expected_version, coalesce(v_row.version, 0), 'credentials', v_user.okx_uid);
        if v_row.version is null then
            insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase)
            values (v_user.id, v_user.okx_uid, p_api_key, p_api_secret, p_passphrase)
            on conflict do nothing
            returning * into v_row;
            continue when not found;    -- somebody else was first
        else
            update okx_api_info c
               set api_key = p_api_key, api_secret = p_api_secret, passphrase = p_passphrase, deleted_at = null
             where c.id = v_row.id
            returning * into v_row;
        end if;
        return v_row;
    end loop;
end
$$;

comment on function save_api_credentials(text, text, text, text, integer) is
'Saves a user''s API credentials, encrypted by the caller, as the next version. p_expected_version: only if this is the current version (0: none yet). Raises US001, US003 (plain text), US004, US007.';
select _allow('save_api_credentials', 'writer admin');
