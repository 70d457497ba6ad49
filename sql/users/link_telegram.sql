-- Idempotent. US008: another live user's. Locks the user's row.
create or replace function link_telegram(
    p_identifier        text,
    p_telegram_id       text,
    p_telegram_username text default null
)
returns app_users
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _resolve_user(p_identifier);
begin
    perform check_identifiers(v_user.okx_uid, coalesce(p_telegram_id, ''));
    loop
        update app_users u
           set telegram_id = p_telegram_id, telegram_username = coalesce(p_telegram_username, u.telegram_username)
         where u.id = v_user.id and u.deleted_at is null
        returning * into v_user;
        exit when found;
        v_user := _resolve_user(p_identifier);    -- deleted or erased while we waited; registered again, perhaps
    end loop;
    return v_user;
exception
    when unique_violation then
        raise exception using errcode = 'US008',
            message = format('Telegram ID %s is linked to another user', p_telegram_id),
            hint = 'Free it first: unlink_telegram(), user unlink.';
end
$$;

comment on function link_telegram(text, text, text) is
'Links a Telegram ID to the user, replacing an earlier link. Raises US004 (unknown user), US007 (malformed), US008 (linked to another user).';
select _allow('link_telegram', 'writer admin');
