-- Once, when it is due: who is found later isn't changed. Locks the schedule (its caller does), and each user for the foreign key.
create or replace function _find_scheduled_users(p_change scheduled_changes)
returns scheduled_changes
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into scheduled_change_users (schedule_id, user_id, okx_uid, due_at)
    select p_change.id, s.user_id, s.okx_uid, p_change.at from find_users_by_setting(p_change.setting_type, p_change.filter) s;
    get diagnostics p_change.users = row_count;
    update scheduled_changes c set users = p_change.users where c.id = p_change.id;
    return p_change;
end
$$;

comment on function _find_scheduled_users(scheduled_changes) is
'Evaluates the filter of a scheduled change: keeps everybody whose document contains it now.';
select _allow('_find_scheduled_users', 'admin');
