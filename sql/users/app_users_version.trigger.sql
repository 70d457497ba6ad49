-- What Redis mirrors (link, deletion) raises the version. Who is deleted stays deleted at that moment: restore_user() knows the
-- settings by it. A longer name that an older release took stays.
create or replace function app_users_version()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_next integer;
begin
    if new.name is distinct from old.name then
        perform _check_length('the name of a user', new.name, 200);
    end if;
    if new.telegram_username is distinct from old.telegram_username then
        perform _check_length('the Telegram username', new.telegram_username, 200);
    end if;
    if tg_op = 'INSERT' then
        return new;
    end if;
    if (new.id, new.okx_uid) is distinct from (old.id, old.okx_uid) then
        raise exception using errcode = 'US005',
            message = 'a user''s id and OKX UID are immutable',
            hint = 'Another OKX account is another user: ensure_user().';
    end if;
    if old.deleted_at is not null and new.deleted_at is not null then
        new.deleted_at := old.deleted_at;
    end if;
    v_next := old.version + (old.telegram_id is distinct from new.telegram_id
                             or (old.deleted_at is null) <> (new.deleted_at is null))::integer;
    if new.version is distinct from old.version then
        perform _check_numbering(new.version, v_next);
    end if;
    new.version    := v_next;
    new.updated_at := case when new is distinct from old then clock_timestamp() else old.updated_at end;
    return new;
end
$$;

comment on function app_users_version() is
'Trigger on app_users: raises the version Redis is guarded by; id and OKX UID are immutable (US005); names have a length limit (US010).';
select _allow('app_users_version');

create or replace trigger app_users_version
    before insert or update on app_users
    for each row execute function app_users_version();
