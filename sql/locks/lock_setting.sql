-- Locks the user's row against an erasure, then the documents: see _put_locks().
create or replace function lock_setting(
    p_identifier   text,
    p_setting_type text,
    p_keys         text[],
    p_reason       text,
    p_until        timestamptz default null,
    p_symbol       text default null
)
returns setof setting_locks
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
    v_name text := _with_symbol(p_setting_type, p_symbol);
begin
    if p_identifier is null then
        perform check_confinement(null);
    else
        v_user := _lock_user(p_identifier);
    end if;
    perform check_setting_type(v_name);
    if p_keys = '{}' or '' = any (p_keys) or array_position(p_keys, null) is not null then
        raise exception using errcode = 'US010', message = 'which keys are to be locked is a list of keys, or null: the whole document';
    end if;
    return query select * from _put_locks(coalesce(v_user.okx_uid, ''), v_name, coalesce(p_keys, array['']), p_reason, p_until, false);
end
$$;

comment on function lock_setting(text, text, text[], text, timestamptz, text) is
'Locks keys of a user''s settings (p_identifier null: of everybody''s; p_keys null: the whole document) until then, or until unlock_setting(): whoever changes them, gets US013, by raw SQL, too. A type''s lock holds for its symbols, too; p_symbol: for that one only. Returns a row a key. Example: select * from lock_setting(''587662504768345929'', ''params'', ''{leverage}'', ''audit'', now() + interval ''1 day''). Raises US002, US004, US007, US010, US012.';
select _allow('lock_setting', 'admin');
