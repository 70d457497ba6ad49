-- Locks the rollout, then as begin_rollout().
create or replace function resume_rollout(p_name text)
returns rollouts
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row rollouts := _lock_rollout(p_name, '{paused}', 'Only one that is paused can be resumed.');
begin
    update rollouts r
       set state = 'running', note = null, changed_by = coalesce(_writer_note('actor'), session_user), written_by = session_user
     where r.name = p_name;
    perform watch_rollouts(p_name);
    select * into v_row from rollouts r where r.name = p_name;
    return v_row;
end
$$;

comment on function resume_rollout(text) is
'Goes on with a rollout that is paused, at the same step, with the looks that are left of it. Example: select state from resume_rollout(''careful-first''). Raises US015 (no such rollout, not paused).';
select _allow('resume_rollout', 'admin');
