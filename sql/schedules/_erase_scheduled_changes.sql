-- Those that are of this user alone; of others the user's part, and what their rows say of it. Called by erase_user(), which holds
-- the user. Locks the schedules, which a relay at work on one holds for a moment.
create or replace function _erase_scheduled_changes(p_user app_users)
returns void
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_ids constant bigint[] := array(select i.schedule_id from scheduled_change_users i where i.user_id = p_user.id);
begin
    delete from scheduled_changes c
     where c.okx_uid = p_user.okx_uid
        or c.id = any (v_ids) and c.filter is null and c.users = 1;
    update scheduled_changes c set users = c.users - 1, note = null where c.id = any (v_ids);
    delete from scheduled_change_users i where i.user_id = p_user.id;
    perform _note_progress(c.id) from scheduled_changes c where c.id = any (v_ids);
end
$$;

comment on function _erase_scheduled_changes(app_users) is
'Removes what is scheduled for a person, and what was.';
select _allow('_erase_scheduled_changes');
