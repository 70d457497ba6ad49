-- Not what a bot locked that runs: unlock_cold_keys(). A deleted user's, too. Idempotent. Locks the rows.
create or replace function unlock_setting(p_identifier text, p_setting_type text, p_keys text[] default null, p_symbol text default null)
returns setof setting_locks
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_okx_uid text := '';
begin
    if p_identifier is null then
        perform check_confinement(null);
    else
        v_okx_uid := (_resolve_user(p_identifier, true)).okx_uid;
    end if;
    return query
    delete from setting_locks l
     where l.okx_uid = v_okx_uid and l.setting_type = _with_symbol(p_setting_type, p_symbol) and not l.is_cold
       and (p_keys is null or l.key = any (array(select normalize(u.key) from unnest(p_keys) u (key))))
    returning l.*;
end
$$;

comment on function unlock_setting(text, text, text[], text) is
'Removes locks of exactly this scope, as lock_setting() has it: of these keys (null: all, and that of the whole document). Returns those that there were. Example: select key from unlock_setting(''587662504768345929'', ''params''). Raises US004, US007, US012.';
select _allow('unlock_setting', 'admin');
