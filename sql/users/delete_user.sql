-- The user no longer resolves; the trigger app_users_links deletes the settings. The reason, unless one is given: user deleted.
-- restore_user() brings everything back. Locks the user's row, then the active settings; a writer who waits gets US004.
create or replace function delete_user(p_identifier text)
returns app_users
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user  app_users := _resolve_user(p_identifier);
    v_given text := _note_reason('user deleted');
begin
    loop
        update app_users u set deleted_at = clock_timestamp() where u.id = v_user.id and u.deleted_at is null
        returning * into v_user;
        exit when found;
        v_user := _resolve_user(p_identifier);    -- deleted or erased while we waited; registered again, perhaps
    end loop;
    perform set_config('settings_store.reason', v_given, true);
    return v_user;
end
$$;

comment on function delete_user(text) is
'Soft-deletes the user and, as new versions, the settings; nothing leaves the history. Raises US004 (unknown user), US007 (malformed).';
select _allow('delete_user', 'writer admin');
