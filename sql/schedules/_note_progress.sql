-- Where more is to be done at once, only that: the others get their turn first, and nothing is counted. Its caller holds the schedule.
create or replace function _note_progress(p_id bigint)
returns scheduled_changes
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_change scheduled_changes;
    v_due_at timestamptz := (select i.due_at from scheduled_change_users i
                              where i.schedule_id = p_id and i.due_at is not null order by i.due_at limit 1);
    v_next   constant timestamptz := greatest(clock_timestamp(), statement_timestamp() + interval '1 microsecond');
begin
    if v_due_at <= v_next then
        update scheduled_changes c set due_at = v_next where c.id = p_id returning * into v_change;
        return v_change;
    end if;
    update scheduled_changes c
       set due_at = v_due_at, ended_at = case when v_due_at is null then coalesce(c.ended_at, clock_timestamp()) end, changed = i.changed,
           state = case when c.state = 'cancelled' then 'cancelled'
                        when i.waiting > 0 then 'waiting' when v_due_at is not null then 'active'
                        when i.failed > 0 then 'failed' when i.expired > 0 then 'expired' else 'done' end,
           note = case when c.users = 1 or i.note is null then i.note else format('%s of %s users, %s', i.noted, c.users, i.note) end
      from (select count(*) filter (where u.version_after > u.version_before) as changed,
                   count(*) filter (where u.outcome = 'waiting') as waiting,
                   count(*) filter (where u.outcome = 'failed') as failed,
                   count(*) filter (where u.outcome = 'expired') as expired,
                   count(u.note) as noted,
                   (select case when c.okx_uid is null then n.okx_uid || ': ' else '' end || n.note
                      from scheduled_change_users n join scheduled_changes c on c.id = n.schedule_id
                     where n.schedule_id = p_id and n.note is not null order by n.outcome <> 'failed', n.okx_uid limit 1) as note
              from scheduled_change_users u where u.schedule_id = p_id) i
     where c.id = p_id
    returning c.* into v_change;
    return v_change;
end
$$;

comment on function _note_progress(bigint) is
'Notes in a scheduled change what became of its users, and when somebody has to look at it again.';
select _allow('_note_progress');
