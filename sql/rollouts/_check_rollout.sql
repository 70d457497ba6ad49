-- Touches no table.
create or replace function _check_rollout(p_rollout rollouts)
returns void
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_steps   constant numeric[] := p_rollout.steps;
    v_problem text := case
        when p_rollout.name ~ '^[^[:space:][:cntrl:]]{1,64}$' is not true then 'a name has 1-64 characters without spaces'
        when cardinality(v_steps) between 1 and 10 is not true or array_ndims(v_steps) <> 1 then 'there are 1-10 steps'
        when exists (select from unnest(v_steps) s where (s > 0 and s <= 100 and s = round(s, 2)) is not true)
            then 'a step is a percentage above 0, up to 100, with two decimals at most'
        when v_steps <> array(select distinct s from unnest(v_steps) s order by s) then 'each step is larger than the one before'
        when (p_rollout.control >= 0 and p_rollout.control < 100 and p_rollout.control = round(p_rollout.control, 2)) is not true
            then 'the control group is a percentage from 0, below 100, with two decimals at most'
        when p_rollout.control + v_steps[1] > 100 then 'the first step and the control group are more than all'
        when p_rollout.minimum_trades between 1 and 10000000 is not true then 'the minimum is 1-10000000 trades'
        when not (p_rollout.step_time > '0' and p_rollout.step_time <= '1000 years') then 'a step takes some time, at most 1000 years'
        when p_rollout.guard in ('net_per_trade', 'win_rate', 'drawdown') is not true then 'the guard is net_per_trade, win_rate or drawdown'
        when p_rollout.on_worse in ('pause', 'roll_back') is not true then 'what happens if it is worse is pause or roll_back'
        when p_rollout.currency !~ '^[A-Z0-9]{1,20}$' then 'a currency is 1-20 letters A-Z and digits'
        when length(p_rollout.reason) > 900 then 'a reason has at most 900 characters'
        when p_rollout.settings = '{}' then 'the template is empty'
    end;
begin
    if v_problem is not null then
        raise exception using errcode = 'US010', message = 'not a rollout that can be begun', detail = v_problem,
            hint = 'select begin_rollout(''careful-first'', ''careful'', ''params'', ''{5,25,100}'')';
    end if;
end
$$;

comment on function _check_rollout(rollouts) is
'Raises US010 (detail: what is wrong) unless a rollout can be begun so.';
select _allow('_check_rollout', 'admin');
