-- p_digest is the SHA-256, in hex, of its three columns joined by a line feed each (so that no plain text of an older system
-- travels). Raises US003 (plain text), US012. Locks the row; marks the key for Redis if it is the active one.
create or replace function reencrypt_api_credentials(p_id uuid, p_digest text, p_api_key text, p_api_secret text, p_passphrase text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_done boolean;
begin
    perform check_confinement((select c.okx_uid from okx_api_info c where c.id = p_id));
    insert into trigger_permits (permit, id) values ('re-encrypt', p_id);
    update okx_api_info c set api_key = p_api_key, api_secret = p_api_secret, passphrase = p_passphrase
     where c.id = p_id and c.api_key is not null
       and encode(sha256(convert_to(concat_ws(E'\n', c.api_key, c.api_secret, c.passphrase), 'utf8')), 'hex') = p_digest;
    v_done := found;
    delete from trigger_permits p where p.permit = 're-encrypt' and p.id is not distinct from p_id;
    return v_done;
end
$$;

comment on function reencrypt_api_credentials(uuid, text, text, text, text) is
'Replaces the ciphertext of one version of API credentials by another of the same; no new version. Returns whether the row was still as the caller read it (p_digest). Used by keys rotate and keys encrypt-existing.';
select _allow('reencrypt_api_credentials', 'admin');
