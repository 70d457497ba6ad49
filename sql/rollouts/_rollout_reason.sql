-- Touches no table.
create or replace function _rollout_reason(p_rollout rollouts)
returns text
language sql immutable
set search_path = pg_catalog, public, pg_temp
as $$
    select left(concat('rollout ', p_rollout.name, case when p_rollout.outcome = 'roll_back' then ' rolled back' end, ': ' || p_rollout.reason), 1000)
$$;

comment on function _rollout_reason(rollouts) is
'Why the versions that a rollout makes are made: it begins with rollout NAME.';
select _allow('_rollout_reason', 'admin');
