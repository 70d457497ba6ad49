-- Plain text is to stay as long as old code reads it: until `keys encrypt-existing`, if `migrate` had no encryption key. Locks the row.
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
select _allow('seal_plain_credentials', 'relay admin');
