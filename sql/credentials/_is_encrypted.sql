-- Of the forms that store/encryption/vault.py makes and, of release 1.0, made. Touches no table. A body of text: adoption adds
-- columns with defaults to the table, which PostgreSQL refuses while an expression it has parsed uses the table's row type.
create or replace function _is_encrypted(p_row okx_api_info)
returns boolean
language sql immutable
set search_path = pg_catalog, public, pg_temp
as $$
    select coalesce((select bool_and(c.text ~ '^(v1\.[0-9a-f]{8}|v2\.[0-9a-f]{8}\.[1-9][0-9]{0,9}\.[A-Za-z0-9_-]{16})\.[A-Za-z0-9_-]+$')
                       from unnest(array[(p_row).api_key, (p_row).api_secret, (p_row).passphrase]) as c (text)
                      where c.text is not null), true)
$$;

comment on function _is_encrypted(okx_api_info) is
'Whether a row of okx_api_info holds ciphertext only.';
select _allow('_is_encrypted', 'admin');
