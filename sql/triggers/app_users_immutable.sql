-- A row of app_users is never removed by DELETE or TRUNCATE: it would leave marks and Redis keys of nobody (US005).
create or replace function app_users_immutable()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    raise exception using errcode = 'US005',
        message = 'users and links are not deleted by hand',
        detail = format('%s would remove users; the history of their settings is theirs.', tg_op),
        hint = 'Call delete_user() or unlink_telegram().';
end
$$;

comment on function app_users_immutable() is
'Trigger on app_users: refuses DELETE and TRUNCATE (US005).';
revoke execute on function app_users_immutable() from public;

create or replace trigger app_users_immutable
    before delete or truncate on app_users
    for each statement execute function app_users_immutable();
