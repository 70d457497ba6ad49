-- A user or link that is gone would leave marks and Redis keys of nobody.
create or replace function no_removal()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if tg_op = 'DELETE' and _is_permitted('removal') then
        return null;
    end if;
    raise exception using errcode = 'US005',
        message = format('rows of %s are never removed', tg_table_name),
        detail = format('%s was asked for.', tg_op),
        hint = 'Call delete_user_setting(), delete_user() or unlink_telegram(): the history stays. For good: erase_user(), prune_user_settings().';
end
$$;

comment on function no_removal() is
'Trigger on user_settings, okx_api_info, app_users, telegram_links, trading_halts: refuses DELETE and TRUNCATE (US005), but for erase_user() and prune_user_settings().';
select _allow('no_removal');

create or replace trigger no_removal
    before delete or truncate on user_settings
    for each statement execute function no_removal();

create or replace trigger no_removal
    before delete or truncate on okx_api_info
    for each statement execute function no_removal();

create or replace trigger no_removal
    before delete or truncate on app_users
    for each statement execute function no_removal();

create or replace trigger no_removal
    before delete or truncate on telegram_links
    for each statement execute function no_removal();

create or replace trigger no_removal
    before delete or truncate on trading_halts
    for each statement execute function no_removal();
