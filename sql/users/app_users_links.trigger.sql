-- telegram_links: whom an ID leads to. Deletes the settings and credentials of a deleted user.
-- It runs as the tables' owner, who alone may write telegram_links.
create or replace function app_users_links()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_before text := case when tg_op = 'UPDATE' and old.deleted_at is null then old.telegram_id end;
    v_after  text := case when new.deleted_at is null then new.telegram_id end;
begin
    if tg_op = 'INSERT' then
        perform _note_return(new.okx_uid);
    end if;
    if v_before is distinct from v_after then
        update telegram_links l set okx_uid = null, version = l.version + 1, updated_at = clock_timestamp()
         where l.telegram_id = v_before;
        insert into telegram_links as l (telegram_id, okx_uid, last_okx_uid)
        select v_after, new.okx_uid, new.okx_uid where v_after is not null
        on conflict (telegram_id) do update
            set okx_uid = excluded.okx_uid, last_okx_uid = excluded.okx_uid, version = l.version + 1, updated_at = clock_timestamp();
        update user_settings s set telegram_id = new.telegram_id
         where s.user_id = new.id and s.is_active and s.deleted_at is null and s.telegram_id is distinct from new.telegram_id;
    end if;
    if new.deleted_at is not null then
        update user_settings s set deleted_at = new.deleted_at    -- the same moment: restore_user() knows them by it
         where s.user_id = new.id and s.is_active and s.deleted_at is null;
        update okx_api_info c set api_key = null, api_secret = null, passphrase = null, deleted_at = new.deleted_at
         where c.user_id = new.id and c.is_active and c.deleted_at is null;
    end if;
    perform _mark_pending(new.okx_uid, 'user', new.version);
    return null;
end
$$;

comment on function app_users_links() is
'Trigger on app_users: keeps telegram_links and user_settings.telegram_id, marks the user in mirror_pending.';
select _allow('app_users_links');

create or replace trigger app_users_links_insert
    after insert on app_users
    for each row execute function app_users_links();

create or replace trigger app_users_links_update
    after update on app_users
    for each row when (new.version > old.version) execute function app_users_links();
