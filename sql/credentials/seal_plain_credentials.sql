-- Encrypts one version of API credentials that old code saved in plain text in an adopted database, as reencrypt_api_credentials()
-- does. NULL if plain text is to stay there until `keys encrypt-existing`, as `migrate` had no encryption key: old code reads it.
-- False if the row isn't plain text, or not what the caller read. Raises US003, US012. Locks the row.
create or replace function seal_plain_credentials(p_id uuid, p_digest text, p_api_key text, p_api_secret text, p_passphrase text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_is_sealed boolean := false;
begin
    perform check_confinement((select c.okx_uid from okx_api_info c where c.id = p_id));
    if _has_predecessor('sealed') then
        execute 'select exists (select from predecessor.sealed)' into v_is_sealed;
    end if;
    return case when not v_is_sealed then null
                when exists (select from okx_api_info c where c.id = p_id and not _is_encrypted(c))
                then reencrypt_api_credentials(p_id, p_digest, p_api_key, p_api_secret, p_passphrase)
                else false end;
end
$$;

comment on function seal_plain_credentials(uuid, text, text, text, text) is
'Encrypts a version of API credentials that old code saved in plain text, in an adopted database. Null if plain text is to stay until keys encrypt-existing; false if the row isn''t what the caller read (p_digest). Used by the relay. Raises US003, US012.';
revoke execute on function seal_plain_credentials(uuid, text, text, text, text) from public;
