-- The tables that the database was adopted from get the ciphertext, too. Reads the whole table. US012 in a confined session.
create or replace function seal_api_credentials()
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_count bigint;
begin
    perform check_confinement(null);
    select count(*) into v_count from okx_api_info c
     where not _is_encrypted(c);
    if v_count = 0 then
        alter table okx_api_info validate constraint okx_api_info_ciphertext;
        if _has_predecessor('okx_api_info') then
            execute 'update predecessor.okx_api_info p set api_key = c.api_key, api_secret = c.api_secret, passphrase = c.passphrase
                       from public.okx_api_info c where c.id = p.id';
        end if;
    end if;
    return v_count;
end
$$;

comment on function seal_api_credentials() is
'How many versions of API credentials are plain text still; with none, validates the constraint that keeps it so. Used by keys encrypt-existing.';
select _allow('seal_api_credentials', 'admin');
