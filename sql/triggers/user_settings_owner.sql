-- A document's first version, or one that comes back after a deletion, needs a live user, and bears the
-- user's OKX UID and Telegram ID of this moment. Holds the user's row (for share) so that delete_user()
-- and link_telegram() wait.
create or replace function user_settings_owner()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := check_owner(new.user_id, new.okx_uid, new.id);
begin
    if v_user.telegram_id is distinct from new.telegram_id then
        update user_settings s set telegram_id = v_user.telegram_id where s.id = new.id;
    end if;
    return null;
end
$$;

comment on function user_settings_owner() is
'Trigger on user_settings: a document can only come to be for a live user (US004).';
revoke execute on function user_settings_owner() from public;

create or replace trigger user_settings_owner_insert
    after insert on user_settings
    for each row when (new.is_active) execute function user_settings_owner();

create or replace trigger user_settings_owner_restore
    after update on user_settings
    for each row when (old.deleted_at is not null and new.deleted_at is null) execute function user_settings_owner();
