-- For nobody, the function of the older schema returned no row: its callers expect that. Reads by index, no lock.
create or replace function get_user_settings(p_identifier text, p_setting_type text default null, p_must_exist boolean default null)
returns setof user_settings
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
begin
    begin
        v_user := _resolve_user(p_identifier);
        if p_setting_type is not null then
            perform check_setting_type(p_setting_type);
        end if;
    exception
        when sqlstate 'US002' or sqlstate 'US004' or sqlstate 'US007' then
            if coalesce(p_must_exist, not _has_predecessor('app_users')) then
                raise;
            end if;
            return;
    end;
    return query
    select * from user_settings s
     where s.user_id = v_user.id and s.is_active and s.deleted_at is null
       and s.setting_type = coalesce(p_setting_type, s.setting_type)
     order by s.setting_type;
end
$$;

comment on function get_user_settings(text, text, boolean) is
'The active settings of a user: a row per setting type, or the one of p_setting_type; none if nothing was saved. Raises US002 (unknown type), US004 (unknown user), US007 (bad identifier); in an adopted database only if p_must_exist, else these have no rows, as in the older schema.';
select _allow('get_user_settings', 'reader writer admin');
