-- By the GIN index idx_user_settings_jsonb, in the order of OKX UIDs. A confined session's user only; never the probe. Raises US012. No lock.
create or replace function find_users_by_setting(
    p_setting_type text,
    p_filter       jsonb,
    p_after        text default null,
    p_limit        integer default null,
    p_symbol       text default null
)
returns setof user_settings
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_only   text := confined_to();
    v_name   text := _with_symbol(p_setting_type, p_symbol);
    v_filter jsonb := _normalised_setting(p_setting_type, p_filter);
begin
    perform check_setting_type(v_name);
    return query
    select * from user_settings s
     where s.is_active and s.deleted_at is null
       and s.setting_type = v_name
       and s.settings @> v_filter
       and s.okx_uid > coalesce(p_after, '') and s.okx_uid <> probe_okx_uid()
       and (v_only is null or s.okx_uid = v_only)
     order by s.okx_uid
     limit p_limit;
end
$$;

comment on function find_users_by_setting(text, jsonb, text, integer, text) is
'Who has these settings: the active rows whose document contains p_filter. Example: select okx_uid from find_users_by_setting(''params'', ''{"leverage": 10}''). p_after, p_limit: the next page after that OKX UID. p_symbol: documents of that symbol, instead of the users'' own. Raises US002, US010.';
select _allow('find_users_by_setting', 'reader writer admin');
