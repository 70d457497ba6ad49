-- Whether a row of credentials holds nothing but ciphertext of the form that store/vault.py makes. Touches no table.
create or replace function is_encrypted(p_row okx_api_info)
returns boolean
language sql immutable
return coalesce((p_row).api_key ~ '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+$', true)
   and coalesce((p_row).api_secret ~ '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+$', true)
   and coalesce((p_row).passphrase ~ '^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+$', true);

comment on function is_encrypted(okx_api_info) is
'Whether a row of okx_api_info holds ciphertext only.';
revoke execute on function is_encrypted(okx_api_info) from public;
