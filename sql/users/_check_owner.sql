-- Alive, but for a document kept as it was found (p_id: the row's). The lock makes delete_user() and link_telegram() wait.
create or replace function _check_owner(p_user_id uuid, p_okx_uid text, p_id uuid)
returns app_users
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
begin
    select * into v_user from app_users u where u.id = p_user_id for share;
    if (v_user.deleted_at is not null and not _is_permitted('keep as found', p_id)) or v_user.okx_uid <> p_okx_uid then
        raise exception using errcode = 'US004',
            message = format('unknown user %s', p_okx_uid),
            detail = case when v_user.okx_uid <> p_okx_uid then 'the OKX UID is not that of user_id' else 'the user was deleted' end,
            hint = 'Register the user first.';
    end if;
    return v_user;
end
$$;

comment on function _check_owner(uuid, text, uuid) is
'The user whose settings or credentials come to be, locked (for share). Raises US004 unless alive and the one the OKX UID names. Called by triggers only.';
select _allow('_check_owner', 'admin');
