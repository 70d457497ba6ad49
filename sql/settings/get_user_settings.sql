-- Reads by index, no lock.
create or replace function get_user_settings(p_identifier text, p_setting_type text default null)
returns setof user_settings
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _resolve_user(p_identifier);
begin
    if p_setting_type is not null then
        perform check_setting_type(p_setting_type);
    end if;
    return query
    select * from user_settings s
     where s.user_id = v_user.id and s.is_active and s.deleted_at is null
       and s.setting_type = coalesce(p_setting_type, s.setting_type)
     order by s.setting_type;
end
$$;

comment on function get_user_settings(text, text) is
'The active settings of a user: a row per setting type, or the one of p_setting_type; none if nothing was saved. Raises US002 (unknown type), US004 (unknown user), US007 (bad identifier).';
select _allow('get_user_settings', 'reader writer admin');
