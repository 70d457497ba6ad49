-- Who has it keeps it; nobody gets it, nobody looks. Locks the rollout.
create or replace function pause_rollout(p_name text, p_reason text default null)
returns rollouts
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row rollouts := _lock_rollout(p_name, '{running}', 'Only one that is running can be paused.');
begin
    update rollouts r
       set state = 'paused', note = left(concat('by hand', ': ' || coalesce(p_reason, _writer_note('reason'))), 1000),
           changed_by = coalesce(_writer_note('actor'), session_user), written_by = session_user
     where r.name = p_name
    returning * into v_row;
    return v_row;
end
$$;

comment on function pause_rollout(text, text) is
'Stops a rollout where it is, until resume_rollout() or end_rollout(). Example: select state from pause_rollout(''careful-first'', ''the exchange is down''). Raises US015 (no such rollout, not running).';
select _allow('pause_rollout', 'admin');
