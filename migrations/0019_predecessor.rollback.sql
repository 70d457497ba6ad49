-- Old code beside an adopted database goes on as far as the release before lets it.
do $$
declare
    v_function record;
begin
    for v_function in
        select p.oid::regprocedure as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'predecessor' and p.proname like 'for\_old\_code\_%'
    loop
        execute format('drop function %s cascade', v_function.name);
    end loop;
end
$$;
do $$
begin
    if to_regnamespace('predecessor') is not null then
        drop table if exists predecessor.taken, predecessor.sealed;
    end if;
end
$$;
drop function if exists get_user_settings(text, text, text, boolean);
delete from okx_api_info where version = 0;
update okx_api_info set deleted_at = null where api_key is not null;
alter table okx_api_info drop constraint okx_api_info_complete;
alter table okx_api_info add constraint okx_api_info_complete
    check (num_nulls(api_key, api_secret, passphrase) = case when deleted_at is null then 0 else 3 end);
alter table okx_api_info add constraint okx_api_info_version_positive check (version > 0);
do $$
begin
    alter table okx_api_info add constraint okx_api_info_ciphertext
        check (concat_ws(' ', api_key, api_secret, passphrase) ~ '^((v1\.[0-9a-f]{8}|v2\.[0-9a-f]{8}\.[1-9][0-9]{0,9}\.[A-Za-z0-9_-]{16})\.[A-Za-z0-9_-]+( |$))*$') not valid;
exception
    when duplicate_object then null;    -- not an adopted database
end
$$;
comment on column okx_api_info.deleted_at is 'Set on a version that is a deletion; it has no credentials.';
comment on column okx_api_info.version is null;
