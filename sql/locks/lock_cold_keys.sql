-- For the bot that begins to run, and again before p_until as long as it runs: one that dies locks nobody for good. Locks the
-- user's row against an erasure, then the documents: see _put_locks().
create or replace function lock_cold_keys(p_identifier text, p_setting_type text, p_until timestamptz, p_symbol text default null)
returns setof setting_locks
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _lock_user(p_identifier);
    v_name text := _with_symbol(p_setting_type, p_symbol);
    v_keys text[] := array(select f.key from setting_fields f where f.setting_type = split_part(p_setting_type, ':', 1) and f.is_hot = false);
begin
    perform check_setting_type(v_name);
    if p_until is null then
        raise exception using errcode = 'US010', message = 'a bot''s lock has an end: it may die';
    end if;
    return query select * from _put_locks(v_user.okx_uid, v_name, v_keys, 'changeable only while the bot is stopped', p_until, true);
end
$$;

comment on function lock_cold_keys(text, text, timestamptz, text) is
'Locks those keys of a user''s settings that the catalogue calls changeable only while the bot is stopped (is_hot = false), until then; called again it is longer. Returns a row a key. Example: select key from lock_cold_keys(''587662504768345929'', ''params'', now() + interval ''2 minutes''). Raises US002, US004, US007, US010, US012.';
select _allow('lock_cold_keys', 'writer admin');
