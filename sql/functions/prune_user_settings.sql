-- Removes versions: of each user and setting type those that are not among the newest p_keep (the active one counts)
-- and went out of force more than p_older_than ago. Besides erase_user() the only thing that removes any. Never the
-- active one, nor the one that restore_user_setting() would bring back; version numbers are never used again.
-- p_identifier: this user only. p_dry_run: count only. Returns how many, by setting type.
-- Raises US004, US007, US010, and US012 in a confined session if not of its user. Locks the rows that go, which no writer
-- wants.
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
as $$
#variable_conflict use_column
declare
    v_user_id uuid := case when p_identifier is not null then (resolve_user(p_identifier, true)).id end;
begin
    if p_identifier is null then
        perform check_confinement(null);
    end if;
    if p_keep is null or p_keep < 1 or p_older_than is null or p_older_than < '0' then
        raise exception using errcode = 'US010',
            message = 'at least one version is kept, and the age is not negative';
    end if;
    insert into trigger_permits (permit) values ('removal');
    return query
    with ranked as (
        select s.id, s.setting_type, s.is_active,
               row_number() over (partition by s.user_id, s.setting_type order by s.version desc) as rank,
               lag(s.updated_at) over (partition by s.user_id, s.setting_type order by s.version desc) as ended_at,
               row_number() over (partition by s.user_id, s.setting_type, s.deleted_at is null order by s.version desc) = 1
                   and s.deleted_at is null as is_last_document
          from user_settings s
         where s.user_id = coalesce(v_user_id, s.user_id)
    ), old as (
        select * from ranked r
         where not r.is_active and not r.is_last_document and r.rank > p_keep and r.ended_at < now() - p_older_than
    ), gone as (
        delete from user_settings s using old where s.id = old.id and not p_dry_run
    )
    select old.setting_type, count(*) from old group by old.setting_type order by old.setting_type;
    delete from trigger_permits p where p.permit = 'removal';
end
$$;

comment on function prune_user_settings(integer, interval, text, boolean) is
'Removes old versions: those beyond the newest p_keep of each document that went out of force more than p_older_than ago; never the active one. Returns how many, by setting type. Example: select * from prune_user_settings(20, ''90 days'', p_dry_run => true). Raises US004, US007, US010.';
revoke execute on function prune_user_settings(integer, interval, text, boolean) from public;
