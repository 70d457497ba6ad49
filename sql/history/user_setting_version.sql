-- deleted_at is set if it is a deletion. Of deleted users, too. US006: it never was, or was pruned. Reads by index; no lock.
create or replace function user_setting_version(p_identifier text, p_setting_type text, p_version integer, p_symbol text default null)
returns user_settings
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _resolve_user(p_identifier, true);
    v_name text := _with_symbol(p_setting_type, p_symbol);
    v_row  user_settings;
begin
    perform check_setting_type(v_name);
    select * into v_row from user_settings s
     where s.user_id = v_user.id and s.setting_type = v_name and s.version = p_version;
    if not found then
        raise exception using errcode = 'US006',
            message = format('%s of user %s has no version %s', v_name, v_user.okx_uid, coalesce(p_version::text, 'null')),
            detail = (select coalesce(format('versions %s to %s are there', min(s.version), max(s.version)), 'nothing was ever saved')
                        from user_settings s where s.user_id = v_user.id and s.setting_type = v_name having count(*) > 0
                      union all select 'nothing was ever saved' limit 1);
    end if;
    return v_row;
end
$$;

comment on function user_setting_version(text, text, integer, text) is
'One version of a user''s settings as it was saved; p_symbol: of the document of that symbol. Raises US002, US004, US006 (no such version), US007, US010.';
select _allow('user_setting_version', 'reader writer admin');
