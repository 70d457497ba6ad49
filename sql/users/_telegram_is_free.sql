-- True for null. Reads by index, no lock.
create or replace function _telegram_is_free(p_telegram_id text)
returns boolean
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select not exists (select from app_users u where u.telegram_id = p_telegram_id and u.deleted_at is null)
$$;

comment on function _telegram_is_free(text) is
'Whether no live user has this Telegram ID.';
select _allow('_telegram_is_free', 'admin');
