-- For the bot that stops. Idempotent. Locks the rows.
create or replace function unlock_cold_keys(p_identifier text, p_setting_type text, p_symbol text default null)
returns setof setting_locks
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _resolve_user(p_identifier, true);
begin
    return query
    delete from setting_locks l
     where l.okx_uid = v_user.okx_uid and l.setting_type = _with_symbol(p_setting_type, p_symbol) and l.is_cold
    returning l.*;
end
$$;

comment on function unlock_cold_keys(text, text, text) is
'Removes what lock_cold_keys() has locked of exactly this scope; returns it. Raises US004, US007, US012.';
select _allow('unlock_cold_keys', 'writer admin');
