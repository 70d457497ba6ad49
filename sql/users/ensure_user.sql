-- Safe under concurrency. A deleted user comes back (settings stay deleted), with the old Telegram ID if that is still free.
-- The probe registers itself: write_probe(). Locks the user's row.
create or replace function ensure_user(
    p_okx_uid           text,
    p_telegram_id       text default null,
    p_name              text default null,
    p_telegram_username text default null
)
returns app_users
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
begin
    perform check_identifiers(p_okx_uid, p_telegram_id);
    perform check_confinement(p_okx_uid);
    if p_okx_uid in (probe_okx_uid(), everybody_okx_uid()) then
        raise exception using errcode = 'US007',
            message = 'nobody can be registered by this OKX UID',
            detail = case when p_okx_uid = everybody_okx_uid() then 'it stands for everybody in the name of a Redis key'
                          else 'it is that of the relay''s probe, which is no user' end,
            hint = case when p_okx_uid = probe_okx_uid() then 'settings-store relay --probe 1 registers it.' else 'Register by the UID that OKX gave.' end;
    end if;
    loop
        update app_users u
           set telegram_id       = coalesce(p_telegram_id, case when u.deleted_at is null or _telegram_is_free(u.telegram_id)
                                                                then u.telegram_id end),
               name              = coalesce(p_name, u.name),
               telegram_username = coalesce(p_telegram_username, u.telegram_username),
               deleted_at        = null
         where u.okx_uid = p_okx_uid
        returning * into v_user;
        exit when found;

        insert into app_users (okx_uid, telegram_id, name, telegram_username)
        values (p_okx_uid, p_telegram_id, p_name, p_telegram_username)
        on conflict do nothing      -- no target: a rival's row hits two unique indexes
        returning * into v_user;
        if found then
            v_user := _give_access(v_user);
            exit;
        end if;

        if not exists (select from app_users u where u.okx_uid = p_okx_uid) and not _telegram_is_free(p_telegram_id) then
            raise unique_violation;
        end if;
    end loop;
    return v_user;
exception
    when unique_violation then
        raise exception using errcode = 'US008',
            message = format('Telegram ID %s is linked to another user', p_telegram_id),
            hint = 'Free it first: unlink_telegram(), user unlink.';
end
$$;

comment on function ensure_user(text, text, text, text) is
'Registers a user by OKX UID, or updates the one there is; idempotent. NULL leaves a field as it is. A deleted user comes back. Raises US007 (malformed identifier, or the probe''s), US008 (Telegram ID linked to another user).';
select _allow('ensure_user', 'writer admin');
