-- What is compared: trades of the step's users, entered since all of them had it, and closed by now, with those of everybody else of the
-- rollout in the same time. Each user counts in the group the bucket says, whatever became of the document later, as else those who were
-- content would be compared with everybody; but a trade under a version from before the rollout's doesn't count.
-- When: first with the minimum of trades in both groups and 20 users each, then each time that has doubled, six times a step. Each look may
-- take (5 % / looks of all steps) for chance (Bonferroni): of the rollouts without an effect at most 5 % are ever called worse.
-- Users are drawn, those of a large group in 100 clusters, dealt out by bucket: so much work it is at most, however many there are.
-- Locks nothing but the rollout, which the caller has.
create or replace function _look_at_rollout(p_rollout rollouts)
returns text
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_share   constant integer := _rollout_share(p_rollout);
    v_look    integer := 1 + (select count(*) from rollout_results x where x.rollout = p_rollout.name and x.step = p_rollout.step);
    v_alpha   constant double precision := 0.05 / (6 * cardinality(p_rollout.steps));
    v_now     constant timestamptz := clock_timestamp();
    v_found   record;
    v_between record;
    v_verdict text;
begin
    perform check_confinement(null);
    with trade as (
        select m.bucket, m.user_id, m.okx_uid, t.net_pnl, t.exit_time,
               sum(t.net_pnl) over (partition by m.user_id order by t.exit_time) as equity    -- trades closed at one moment are one step
          from rollout_users m
          join trades t on t.user_id = m.user_id
         cross join lateral (select case p_rollout.setting_type when 'params' then t.params_version else t.dual_side_version end as version) v
         where m.rollout = p_rollout.name and t.entry_time >= p_rollout.given_at and t.exit_time between p_rollout.given_at and v_now
           and t.currency is not distinct from p_rollout.currency and v.version >= coalesce(case when m.bucket < v_share then m.version end, 1)
    ), curve as (
        select t.*, greatest(max(t.equity) over (partition by t.user_id order by t.exit_time), 0) - t.equity as fall from trade t
    ), person as (
        select c.bucket < v_share as is_treated, c.bucket, c.okx_uid, count(*) as trades,
               (case p_rollout.guard when 'net_per_trade' then sum(c.net_pnl) when 'win_rate' then count(*) filter (where c.net_pnl > 0)
                                     else max(c.fall) end)::double precision as amount,
               case when p_rollout.guard = 'drawdown' then 1 else count(*) end::double precision as weight
          from curve c
         group by c.bucket, c.okx_uid
    ), dealt as (
        select p.*, row_number() over (partition by p.is_treated order by p.bucket, p.okx_uid) % 100 as cluster from person p
    ), cluster as (
        select d.is_treated, d.cluster, count(*) as users, sum(d.trades) as trades, sum(d.amount) as amount, sum(d.weight) as weight
          from dealt d
         group by d.is_treated, d.cluster
    )
    select coalesce(sum(c.users) filter (where c.is_treated), 0) as treated_users, coalesce(sum(c.trades) filter (where c.is_treated), 0) as treated_trades,
           coalesce(sum(c.users) filter (where not c.is_treated), 0) as control_users, coalesce(sum(c.trades) filter (where not c.is_treated), 0) as control_trades,
           sum(c.amount) filter (where c.is_treated) / sum(c.weight) filter (where c.is_treated) as treated_mean,
           sum(c.amount) filter (where not c.is_treated) / sum(c.weight) filter (where not c.is_treated) as control_mean,
           array_agg(c.amount order by c.cluster) filter (where c.is_treated) as treated, array_agg(c.weight order by c.cluster) filter (where c.is_treated) as treated_weights,
           array_agg(c.amount order by c.cluster) filter (where not c.is_treated) as control, array_agg(c.weight order by c.cluster) filter (where not c.is_treated) as control_weights
      into v_found
      from cluster c;
    update rollouts r set treated_trades = v_found.treated_trades, control_trades = v_found.control_trades where r.name = p_rollout.name;
    if v_look > 6 or least(v_found.treated_users, v_found.control_users) < 20
       or least(v_found.treated_trades, v_found.control_trades) < p_rollout.minimum_trades::bigint << (v_look - 1) then
        return null;
    end if;
    v_between := _bootstrap_difference(hashtextextended(p_rollout.name, 10 * p_rollout.step + v_look), v_found.treated, v_found.treated_weights,
                                       v_found.control, v_found.control_weights, v_alpha);
    v_verdict := case when p_rollout.guard = 'drawdown' then case when v_between.lower > 0 then 'worse' when v_between.upper < 0 then 'better' else 'open' end
                      else case when v_between.upper < 0 then 'worse' when v_between.lower > 0 then 'better' else 'open' end end;
    insert into rollout_results (rollout, step, look, looked_at, since, treated_users, treated_trades, treated_mean, control_users, control_trades,
                                 control_mean, difference, lower, upper, alpha, verdict)
    values (p_rollout.name, p_rollout.step, v_look, v_now, p_rollout.given_at, v_found.treated_users, v_found.treated_trades, v_found.treated_mean,
            v_found.control_users, v_found.control_trades, v_found.control_mean, v_between.difference, v_between.lower, v_between.upper, v_alpha, v_verdict);
    return v_verdict;
end
$$;

comment on function _look_at_rollout(rollouts) is
'Compares the two groups of a rollout''s step, if there are trades enough for the next look, and notes in rollout_results what it found. Returns the verdict: worse, better, open; null: no look yet. Called by watch_rollouts(). Raises US012.';
select _allow('_look_at_rollout', 'admin');
