-- Reads by index, no lock.
create or replace function find_user(p_identifier text)
returns setof app_users
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    return next _resolve_user(p_identifier);
exception
    when sqlstate 'US004' then
        return;
end
$$;

comment on function find_user(text) is
'The live user with this OKX UID, Telegram ID or UUID; no row if there is none. Raises US007 for what can''t be an identifier.';
select _allow('find_user', 'reader writer relay admin');
