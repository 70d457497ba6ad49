-- The one place that reads an identifier. By length alone none can be taken for another. Reads by index, takes no lock.
create or replace function _resolve_user(p_identifier text, p_include_deleted boolean default false)
returns app_users
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
begin
    if p_identifier ~ '^[0-9]{16,20}$' then
        select * into v_user from app_users u where u.okx_uid = p_identifier;
    elsif p_identifier ~ '^[0-9]{5,15}$' then
        select * into v_user from app_users u
         where u.telegram_id = p_identifier and u.deleted_at is null;
    elsif p_identifier ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' then
        select * into v_user from app_users u where u.id = p_identifier::uuid;
    else
        raise exception using errcode = 'US007',
            message = 'not an identifier of a user',
            detail = format('%s characters were given', coalesce(length(p_identifier), 0)),
            hint = 'An OKX UID has 16-20 digits, a Telegram ID 5-15 digits; the user''s UUID works too.';
    end if;

    if current_setting('settings_store.okx_uid', true) <> '' and p_identifier <> confined_to() then
        perform check_confinement(coalesce(v_user.okx_uid, ''));    -- nobody, too: who exists is not told
    end if;
    if v_user.id is null or (v_user.deleted_at is not null and not p_include_deleted) then
        raise exception using errcode = 'US004',
            message = format('unknown user %s', p_identifier),
            detail = case when v_user.id is null then 'nobody has this identifier' else 'the user was deleted' end,
            hint = case when v_user.id is null then 'Register the user first.' else 'Bring the user back: restore_user(), user restore.' end;
    end if;
    return v_user;
end
$$;

comment on function _resolve_user(text, boolean) is
'The user of an identifier: an OKX UID (16-20 digits), a Telegram ID (5-15 digits) or the user''s UUID. Raises US007 if it is none of these, US004 if nobody has it, or only a deleted user (who is found by OKX UID or UUID if p_include_deleted), US012 if the session is confined to another.';
select _allow('_resolve_user', 'admin');
