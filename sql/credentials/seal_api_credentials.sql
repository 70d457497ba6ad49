-- In an adopted database old code may go on writing plain text, which the relay encrypts from now on, and the tables set aside get
-- the ciphertext, too. Reads the whole table, and there locks writers out. US012 in a confined session.
create or replace function seal_api_credentials()
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_is_adopted boolean := _has_predecessor('okx_api_info');
    v_count      bigint;
begin
    perform check_confinement(null);
    if v_is_adopted then
        lock table okx_api_info in share row exclusive mode;
    end if;
    select count(*) into v_count from okx_api_info c
     where not _is_encrypted(c);
    if v_count > 0 then
        return v_count;
    end if;
    if v_is_adopted then
        execute 'insert into predecessor.sealed default values on conflict do nothing';
        execute 'update predecessor.okx_api_info p set api_key = c.api_key, api_secret = c.api_secret, passphrase = c.passphrase
                   from public.okx_api_info c where c.id = p.id and c.version > 0';
        return 0;
    end if;
    if not exists (select from pg_constraint c where c.conrelid = 'okx_api_info'::regclass and c.conname = 'okx_api_info_ciphertext') then
        alter table okx_api_info add constraint okx_api_info_ciphertext    -- it was adopted once
            check (concat_ws(' ', api_key, api_secret, passphrase) ~ '^((v1\.[0-9a-f]{8}|v2\.[0-9a-f]{8}\.[1-9][0-9]{0,9}\.[A-Za-z0-9_-]{16})\.[A-Za-z0-9_-]+( |$))*$') not valid;
    end if;
    alter table okx_api_info validate constraint okx_api_info_ciphertext;
    return 0;
end
$$;

comment on function seal_api_credentials() is
'How many versions of API credentials are plain text still; with none, validates the constraint that keeps it so, or in an adopted database lets the relay encrypt what old code still writes. Used by keys encrypt-existing.';
select _allow('seal_api_credentials', 'admin');
