-- Nobody deletes or erases the user meanwhile. To be called before a setting is locked.
create or replace function _lock_user(p_identifier text)
returns app_users
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
begin
    loop
        v_user := _resolve_user(p_identifier);
        select * into v_user from app_users u where u.id = v_user.id and u.deleted_at is null for share;
        if found then
            return v_user;
        end if;
        -- deleted or erased while we waited; registered again, perhaps
    end loop;
end
$$;

comment on function _lock_user(text) is
'The live user of an identifier, with the row locked (for share). Raises US004, US007.';
select _allow('_lock_user', 'admin');
