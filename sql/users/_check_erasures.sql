-- settings_store.erasures: what erasures() said; not set: no check.
create or replace function _check_erasures()
returns void
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_seen text := nullif(current_setting('settings_store.erasures', true), '');
    v_now  text := erasures();
begin
    if v_seen <> v_now then
        raise exception using errcode = 'US001',
            message = 'somebody was erased since Redis was read',
            detail = format('expected version %s, current version %s', v_seen, v_now),
            hint = 'Read Redis again.';
    end if;
end
$$;

comment on function _check_erasures() is
'Raises US001 if somebody was erased since settings_store.erasures was counted; holds off erasures until the transaction ends. Called by the imports from Redis.';
select _allow('_check_erasures', 'admin');
