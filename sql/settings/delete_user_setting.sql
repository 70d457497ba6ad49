-- Idempotent; no row (all columns null) if there was none.
create or replace function delete_user_setting(
    p_identifier       text,
    p_setting_type     text,
    p_expected_version integer default null,
    p_symbol           text default null
)
returns user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _resolve_user(p_identifier);
    v_name text := _with_symbol(p_setting_type, p_symbol);
    v_row  user_settings;
begin
    perform check_setting_type(v_name);
    select * into v_row from user_settings s
     where s.user_id = v_user.id and s.setting_type = v_name and s.is_active
       for no key update;
    if not found and not exists (select from app_users u where u.id = v_user.id) then    -- erased while we waited
        return delete_user_setting(p_identifier, v_name, p_expected_version);
    end if;
    perform _check_version(p_expected_version, coalesce(v_row.version, 0), v_name, v_user.okx_uid);
    if v_row.deleted_at is null then
        update user_settings s set deleted_at = clock_timestamp() where s.id = v_row.id returning * into v_row;
    end if;
    return v_row;
end
$$;

comment on function delete_user_setting(text, text, integer, text) is
'Deletes a settings document, as a version of its own; the old value stays in the history. p_symbol: the document of that symbol; then the user''s own is in force there. Raises US001, US002, US004, US007, US010.';
select _allow('delete_user_setting', 'writer admin');
