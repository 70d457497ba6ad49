-- Touches no table.
create or replace function _rollout_share(p_rollout rollouts)
returns integer
language sql immutable
set search_path = pg_catalog, public, pg_temp
as $$
    select case when p_rollout.outcome = 'everybody' then 10000
                else (100 * least(p_rollout.steps[p_rollout.step], 100 - p_rollout.control))::integer end
$$;

comment on function _rollout_share(rollouts) is
'Below which bucket users have what a rollout gives, or are getting it.';
select _allow('_rollout_share', 'admin');
