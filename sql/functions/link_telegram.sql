-- Links a Telegram ID to a user, in place of the one linked before; idempotent.
-- Raises US004, US007, and US008 if the Telegram ID leads to another live user. Locks the user's row.
create or replace function link_telegram(
    p_identifier        text,
    p_telegram_id       text,
    p_telegram_username text default null
)
returns app_users
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := resolve_user(p_identifier);
begin
    return ensure_user(v_user.okx_uid, coalesce(p_telegram_id, ''), p_telegram_username => p_telegram_username);
end
$$;

comment on function link_telegram(text, text, text) is
'Links a Telegram ID to the user, replacing an earlier link. Raises US004 (unknown user), US007 (malformed), US008 (linked to another user).';
revoke execute on function link_telegram(text, text, text) from public;
