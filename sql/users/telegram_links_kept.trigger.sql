-- But for _note_link(), nobody writes it by hand: its version guards Redis, and what it says must be what app_users says.
create or replace function telegram_links_kept()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if _is_permitted('link noted') then
        return new;
    end if;
    raise exception using errcode = 'US005',
        message = 'telegram_links is kept by a trigger',
        hint = 'Call link_telegram() or unlink_telegram(), or update app_users.telegram_id.';
end
$$;

comment on function telegram_links_kept() is
'Trigger on telegram_links: refuses to insert or update by hand (US005); it follows app_users.telegram_id.';
select _allow('telegram_links_kept');

create or replace trigger telegram_links_kept
    before insert or update on telegram_links
    for each row when (pg_trigger_depth() = 0) execute function telegram_links_kept();
