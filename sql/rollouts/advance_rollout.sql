-- Locks the rollout, then as begin_rollout().
create or replace function advance_rollout(p_name text, p_from integer default null)
returns rollouts
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row rollouts := _lock_rollout(p_name, '{running}', 'resume_rollout() goes on with one that is paused.');
begin
    if v_row.step = cardinality(v_row.steps) or v_row.step <> p_from then
        raise exception using errcode = 'US015',
            message = format('the rollout %s is at step %s of %s', quote_ident(p_name), v_row.step, cardinality(v_row.steps)),
            hint = case when v_row.step = p_from or p_from is null then 'After the last step comes end_rollout().' else 'Somebody advanced it meanwhile.' end;
    end if;
    update rollouts r
       set step = r.step + 1, given_at = null, next_look_at = null, treated_trades = 0, control_trades = 0, note = null,
           changed_by = coalesce(_writer_note('actor'), session_user), written_by = session_user
     where r.name = p_name;
    perform watch_rollouts(p_name);
    select * into v_row from rollouts r where r.name = p_name;
    return v_row;
end
$$;

comment on function advance_rollout(text, integer) is
'Goes on to the next step of a rollout, whatever its results are. p_from: only if it is at that step. Example: select step from advance_rollout(''careful-first''). Raises US015 (no such rollout, not running, no next step).';
select _allow('advance_rollout', 'admin');
