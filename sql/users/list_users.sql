-- A confined session's user only; never the probe. Reads by index, no lock.
create or replace function list_users(p_after text default null, p_limit integer default null)
returns setof app_users
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_only text := confined_to();
begin
    return query
    select * from app_users u
     where u.deleted_at is null and u.okx_uid > coalesce(p_after, '') and u.okx_uid <> probe_okx_uid()
       and (v_only is null or u.okx_uid = v_only)
     order by u.okx_uid
     limit p_limit;
end
$$;

comment on function list_users(text, integer) is
'Live users by OKX UID. p_after: the last OKX UID of the page before; p_limit: rows at most (null: all).';
select _allow('list_users', 'reader writer admin');
