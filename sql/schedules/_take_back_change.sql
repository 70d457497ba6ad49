-- What somebody else did since wins: a key with another value than the change left there, a document deleted or saved anew.
-- Locks as _apply_scheduled_change() does, so that of two changes of a document that end at once one comes after the other.
create or replace function _take_back_change(p_change scheduled_changes, p_user_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user    app_users;
    v_item    scheduled_change_users;
    v_row     user_settings;
    v_version integer;
    v_is_gone boolean;
    v_left    record;
    v_note    text;
    v_writer  jsonb;
begin
    perform from app_users u where u.id = p_user_id for no key update;
    v_user := _lock_user(p_user_id::text);    -- alive
    select * into v_row from user_settings s
     where s.user_id = v_user.id and s.setting_type = p_change.setting_type and s.is_active for no key update;
    v_version := v_row.version;
    v_is_gone := v_row.id is null or v_row.deleted_at is not null;
    v_item := _hand_down_change(p_change, p_user_id);
    if v_is_gone <> (v_item.after is null) then
        v_note := case when v_is_gone then 'nothing was taken back: the document was deleted since'
                       else 'nothing was taken back: a document was saved since' end;
    else
        select * into v_left from _without_change(case when v_is_gone then '{}' else v_row.settings end, v_item.before, coalesce(v_item.after, '{}'));
        v_note := 'changed since, and kept: ' || nullif(array_to_string(v_left.kept, ', '), '');
        v_writer := _write_as_schedule(p_change, concat(' is over', '; ' || v_note));
        if v_left.document is null then
            v_row := delete_user_setting(v_user.okx_uid, p_change.setting_type);
        elsif not v_is_gone or v_item.before is not null then
            v_row := upsert_user_setting(v_user.okx_uid, p_change.setting_type, v_left.document);
        end if;
        perform set_config('settings_store.actor', v_writer ->> 'actor', true),
                set_config('settings_store.reason', v_writer ->> 'reason', true);
    end if;
    update scheduled_change_users i
       set outcome = 'taken back', due_at = null, before = null, after = null, note = nullif(concat_ws('; ', v_item.note, v_note), ''),
           version_back = case when v_row.version > v_version then v_row.version end
     where i.schedule_id = p_change.id and i.user_id = v_user.id;
end
$$;

comment on function _take_back_change(scheduled_changes, uuid) is
'Gives the keys that a scheduled change changed of one user the values they had, but for those that somebody changed since. Raises what a save raises.';
select _allow('_take_back_change', 'admin');
