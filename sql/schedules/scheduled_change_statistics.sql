-- By a scan of all, or of what is to come. A confined session: those that are of its user alone. Reads only.
create or replace function scheduled_change_statistics()
returns table (to_come bigint, failed bigint, overdue interval)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_only text := confined_to();
begin
    return query
    select count(*) filter (where c.due_at is not null),
           count(*) filter (where c.state in ('failed', 'expired') and c.ended_at > now() - interval '7 days'),
           greatest(clock_timestamp() - min(c.due_at), '0')
      from scheduled_changes c
     where v_only is null or c.okx_uid = v_only;
end
$$;

comment on function scheduled_change_statistics() is
'How many scheduled changes are to come (to be applied, or taken back), how many failed or expired in the last 7 days, and for how long the oldest that is due has waited: more than a few seconds means that no relay runs.';
select _allow('scheduled_change_statistics', 'reader writer relay admin');
