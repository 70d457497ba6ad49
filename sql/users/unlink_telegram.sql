-- Idempotent. Locks the user's row.
create or replace function unlink_telegram(p_identifier text)
returns app_users
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _resolve_user(p_identifier);
begin
    loop
        update app_users u set telegram_id = null, telegram_username = null
         where u.id = v_user.id and u.deleted_at is null
        returning * into v_user;
        exit when found;
        v_user := _resolve_user(p_identifier);    -- deleted or erased while we waited; registered again, perhaps
    end loop;
    return v_user;
end
$$;

comment on function unlink_telegram(text) is
'Takes the Telegram ID from the user; the ID is free again. Raises US004 (unknown user), US007 (malformed).';
select _allow('unlink_telegram', 'writer admin');
