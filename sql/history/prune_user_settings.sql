-- Besides erase_user() the only thing that removes versions. Never the one that restore_user_setting() would bring back and what
-- follows it, so there are no gaps; version numbers are never used again. US012: in a confined session if not of its user.
-- Of everybody: the probe aside, which write_probe() prunes. Locks the rows that go, which no writer wants; never waits.
create or replace function prune_user_settings(
    p_keep       integer,
    p_older_than interval,
    p_identifier text default null,
    p_dry_run    boolean default false
)
returns table (setting_type text, versions bigint)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_user_id uuid := case when p_identifier is not null then (_resolve_user(p_identifier, true)).id end;
begin
    if p_identifier is null then
        perform check_confinement(null);
    end if;
    if p_keep is null or p_keep < 1 or p_older_than is null or not p_older_than between '0' and '1000 years' then
        raise exception using errcode = 'US010',
            message = 'at least one version is kept, and the age is from 0 to 1000 years';
    end if;
    insert into trigger_permits (permit) values ('removal');
    return query
    with ranked as (
        select s.id, s.user_id, s.setting_type, s.version, s.is_active,
               row_number() over newest as rank, lag(s.updated_at) over newest as ended_at
          from user_settings s
         where s.user_id = coalesce(v_user_id, s.user_id) and (v_user_id is not null or s.okx_uid <> probe_okx_uid())
        window newest as (partition by s.user_id, s.setting_type order by s.version desc)
    ), deleted as materialized (
        select a.user_id, a.setting_type, _restorable_version(a.user_id, a.setting_type) as version
          from user_settings a
         where a.is_active and a.deleted_at is not null and a.user_id = coalesce(v_user_id, a.user_id)
    ), old as (
        select r.id, r.setting_type
          from ranked r
          left join deleted d using (user_id, setting_type)
         where not r.is_active and r.rank > p_keep and r.ended_at < now() - p_older_than
           and (d.version is null or r.version < d.version)
    ), mine as (    -- what another one is removing is counted there
        select s.id from user_settings s join old on old.id = s.id where not p_dry_run for update of s skip locked
    ), gone as (
        delete from user_settings s using mine where s.id = mine.id returning s.setting_type
    )
    select split_part(g.setting_type, ':', 1), count(*)
      from (select gone.setting_type from gone union all select old.setting_type from old where p_dry_run) g
     group by 1 order by 1;
    delete from trigger_permits p where p.permit = 'removal';
    if p_identifier is null and not p_dry_run then
        delete from scheduled_changes c where c.ended_at < now() - p_older_than;
    end if;
end
$$;

comment on function prune_user_settings(integer, interval, text, boolean) is
'Removes old versions: those beyond the newest p_keep of each document that went out of force more than p_older_than ago; never the active one; of everybody, also scheduled changes that were over by then. Returns how many, by setting type. Example: select * from prune_user_settings(20, ''90 days'', p_dry_run => true). Raises US004, US007, US010.';
select _allow('prune_user_settings', 'admin');
