-- One turn of a rollout that the caller has locked.
create or replace function _carry_on_rollout(p_rollout rollouts, p_limit integer, out okx_uids text[], out verdict text)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_given record;
begin
    perform check_confinement(null);
    if p_rollout.outcome = 'roll_back' then
        v_given := _take_back_rollout(p_rollout, p_limit);
    else
        v_given := _give_rollout(p_rollout, p_limit);
    end if;
    okx_uids := v_given.okx_uids;
    if not v_given.is_done then
        return;
    elsif p_rollout.state = 'ending' then
        update rollouts r set state = 'ended', ended_at = clock_timestamp()
         where r.name = p_rollout.name
           and not exists (select from rollout_users m
                            where m.rollout = r.name and case when r.outcome = 'roll_back' then m.version is not null and m.taken_back_at is null
                                                              else m.version is null and m.problem is null end);
        return;
    elsif p_rollout.given_at is null then
        update rollouts r set given_at = clock_timestamp(), next_look_at = clock_timestamp() where r.name = p_rollout.name;
        return;
    elsif p_rollout.next_look_at > clock_timestamp() then
        return;
    end if;

    verdict := _look_at_rollout(p_rollout);
    update rollouts r set next_look_at = clock_timestamp() + interval '5 minutes', note = null where r.name = p_rollout.name;
    if verdict = 'worse' then
        update rollouts r
           set state = case when r.on_worse = 'pause' then 'paused' else 'ending' end, outcome = nullif(r.on_worse, 'pause'),
               note = format('worse than the control group by %s, step %s', r.guard, r.step)
         where r.name = p_rollout.name;
    elsif p_rollout.step < cardinality(p_rollout.steps) and clock_timestamp() >= p_rollout.given_at + p_rollout.step_time
          and (select x.verdict from rollout_results x where x.rollout = p_rollout.name and x.step = p_rollout.step
                order by x.look desc limit 1) <> 'worse' then    -- resumed though it is worse: by hand only
        update rollouts r set step = r.step + 1, given_at = null, next_look_at = null, treated_trades = 0, control_trades = 0
         where r.name = p_rollout.name;
    end if;
end
$$;

comment on function _carry_on_rollout(rollouts, integer) is
'Gives or takes back a rollout''s settings, looks at its results, pauses, advances or ends it, whatever comes next. Whose documents changed, and the verdict of a look. Called by watch_rollouts(). Raises US012.';
select _allow('_carry_on_rollout', 'admin');
