-- By a scan of all; a confined session's are those of its user, by index. Without the probe, but for its keys. Reads only.
create or replace function store_statistics()
returns table (users bigint, settings bigint, versions bigint, pending bigint, set_aside bigint)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_only text := confined_to();
begin
    return query
    select (select count(*) from app_users u where u.deleted_at is null and u.okx_uid <> probe_okx_uid() and (v_only is null or u.okx_uid = v_only)),
           c.active, c.kept, l.waiting + l.set_aside, l.set_aside
      from pending_lag() l
     cross join (select count(*) filter (where s.is_active and s.deleted_at is null) as active, count(*) as kept
                   from user_settings s
                  where s.okx_uid <> probe_okx_uid()
                    and (v_only is null or s.user_id = (select u.id from app_users u where u.okx_uid = v_only))) c;
end
$$;

comment on function store_statistics() is
'Counts of live users, active settings, versions in all, keys not mirrored yet and those set aside with an error.';
select _allow('store_statistics', 'reader writer relay admin');
