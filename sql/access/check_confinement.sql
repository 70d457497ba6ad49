-- By settings_store.okx_uid. Touches no table.
create or replace function check_confinement(p_okx_uid text)
returns void
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if confined_to() <> coalesce(p_okx_uid, '') then
        raise exception using errcode = 'US012',
            message = 'this session is confined to one user',
            detail = case when p_okx_uid is null then 'this is for all users at once' else 'this is for another user' end,
            hint = 'The session setting settings_store.okx_uid names the user.';
    end if;
end
$$;

comment on function check_confinement(text) is
'Raises US012 if this session is confined to another user than this one (null: everybody).';
select _allow('check_confinement', 'admin');
