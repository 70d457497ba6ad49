-- Credentials in the new form stay; the release before can't read them.
drop table erased_people, erasure_keys;
do $$
declare
    v_is_valid boolean := (select c.convalidated from pg_constraint c
                            where c.conrelid = 'okx_api_info'::regclass and c.conname = 'okx_api_info_ciphertext');
begin
    alter table okx_api_info drop constraint okx_api_info_ciphertext;
    alter table okx_api_info add constraint okx_api_info_ciphertext
        check (concat_ws(' ', api_key, api_secret, passphrase) ~ '^(v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+( |$))*$') not valid;
    if v_is_valid and not exists (select from okx_api_info c where c.api_key like 'v2.%') then
        alter table okx_api_info validate constraint okx_api_info_ciphertext;
    end if;
end
$$;
