-- Makes a key known that Redis has of a deleted user and PostgreSQL never had, as one that is deleted: from now on Redis is to
-- lose it, and what it holds can be kept in the history first. p_owner: the OKX UID, or of kind telegram the Telegram ID;
-- p_okx_uid: the user. restore_user() brings nothing of it back. Idempotent; nothing happens to a user who lives, nor to what
-- was erased. Of the halts' key, too, which holds none from then on. Waits for nobody: returns false if another transaction holds the user. Raises US002, US007, US012.
create or replace function note_deleted_key(p_owner text, p_kind text, p_okx_uid text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set lock_timeout = '10ms'
as $$
declare
    v_user  app_users;
    v_id    uuid := gen_random_uuid();
    v_given text;
begin
    perform check_identifiers(p_okx_uid, null);
    perform check_confinement(p_okx_uid);
    if p_owner = everybody_okx_uid() and p_kind = 'halts' then    -- and nobody has halted anything yet
        insert into halts_version default values on conflict do nothing;
        return true;
    end if;
    select * into v_user from app_users u where u.okx_uid = p_okx_uid and u.deleted_at is not null for no key update;
    if not found or exists (select from mirror_pending m where m.owner = p_owner and m.kind = p_kind and (m.erased or m.discards)) then
        return true;
    elsif p_kind = 'telegram' then
        perform _note_link(p_owner, p_okx_uid);
        return true;
    end if;
    v_given := _note_reason('found in Redis, of a deleted user');
    insert into trigger_permits (permit, id) values ('keep as found', v_id);
    if p_kind = 'api_keys' then
        insert into okx_api_info (id, user_id, okx_uid, deleted_at) values (v_id, v_user.id, v_user.okx_uid, clock_timestamp())
            on conflict do nothing;
    else
        insert into user_settings (id, user_id, okx_uid, setting_type, settings, deleted_at)
        values (v_id, v_user.id, v_user.okx_uid, p_kind, '{}', clock_timestamp())
            on conflict do nothing;
    end if;
    delete from trigger_permits p where p.permit = 'keep as found' and p.id is not distinct from v_id;
    perform set_config('settings_store.reason', v_given, true);
    return true;
exception when lock_not_available then
    return false;
end
$$;

comment on function note_deleted_key(text, text, text) is
'Makes a key that only Redis has of a deleted user known as deleted, so that Redis loses it. owner: OKX UID, or Telegram ID of kind telegram. Returns false if another transaction holds the user: try again. Used by verify --repair. Raises US002, US007, US012.';
select _allow('note_deleted_key', 'writer relay admin');
