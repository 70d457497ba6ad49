-- What every new version brings about, whoever writes it:
--   a change archives the value it replaces as an inactive row, word for word; the active row keeps its id
--   a document that comes to be, or comes back after a deletion, needs a live user (US004), and bears that user's Telegram ID
--     of this moment; the user's row is held (for share), so that delete_user() and link_telegram() wait
--   its key is marked for Redis, in the same transaction
-- It runs as the tables' owner, who alone may insert an archived row: see sql/access/policies.sql.
-- One trigger for all three: the condition of a trigger costs each write as much as a lookup (docs/performance.md).
create or replace function user_settings_changed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
begin
    if tg_op = 'INSERT' and current_setting('settings_store.reason', true) = 'found in Redis'    -- most writers are spared the look
       and exists (select from trigger_permits p where p.permit = 'taken over') then
        return null;
    end if;
    if tg_op = 'UPDATE' then
        old.id        := gen_random_uuid();
        old.is_active := false;
        insert into user_settings select old.*;
    end if;

    if tg_op = 'INSERT' or (old.deleted_at is not null and new.deleted_at is null) then
        v_user := _check_owner(new.user_id, new.okx_uid, new.id);
        if v_user.telegram_id is distinct from new.telegram_id then
            update user_settings s set telegram_id = v_user.telegram_id where s.id = new.id;
        end if;
    end if;

    perform _mark_pending(new.okx_uid, new.setting_type, new.version);
    return null;
end
$$;

comment on function user_settings_changed() is
'Trigger on user_settings: archives the version that a change replaces, checks the owner (US004), marks the key in mirror_pending.';
select _allow('user_settings_changed');

create or replace trigger user_settings_changed_insert
    after insert on user_settings
    for each row when (new.is_active) execute function user_settings_changed();

create or replace trigger user_settings_changed_update
    after update on user_settings
    for each row when (new.version > old.version) execute function user_settings_changed();
