-- A row of telegram_links is never removed by DELETE or TRUNCATE: it would leave marks and Redis keys of nobody (US005).
create or replace function telegram_links_immutable()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    raise exception using errcode = 'US005',
        message = 'users and links are not deleted by hand',
        detail = format('%s would remove links, which Redis may still hold.', tg_op),
        hint = 'Call delete_user() or unlink_telegram().';
end
$$;

comment on function telegram_links_immutable() is
'Trigger on telegram_links: refuses DELETE and TRUNCATE (US005).';
revoke execute on function telegram_links_immutable() from public;

create or replace trigger telegram_links_immutable
    before delete or truncate on telegram_links
    for each statement execute function telegram_links_immutable();
