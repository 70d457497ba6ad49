-- By index, whatever the planner knows of the tables: hence plans for the values. In a function of its own, as else whatever the triggers
-- do for each user would be planned anew, too. Locks the documents; passes by those that others hold.
create or replace function _next_of_rollout(p_rollout rollouts, p_limit integer)
returns table (user_id uuid, okx_uid text, id uuid, settings jsonb, version integer, before jsonb, after jsonb)
language plpgsql
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_share constant integer := _rollout_share(p_rollout);
begin
    if p_rollout.outcome = 'roll_back' then
        return query
        select m.user_id, m.okx_uid, s.id, s.settings, s.version, m.before, m.after
          from rollout_users m
          join user_settings s on s.user_id = m.user_id and s.setting_type = p_rollout.setting_type and s.is_active and s.deleted_at is null
         where m.rollout = p_rollout.name and m.version is not null and m.taken_back_at is null
         order by m.user_id
         limit p_limit
           for no key update of s skip locked;
    else
        return query
        select m.user_id, m.okx_uid, s.id, s.settings, s.version, m.before, m.after
          from rollout_users m
          join user_settings s on s.user_id = m.user_id and s.setting_type = p_rollout.setting_type and s.is_active and s.deleted_at is null
         where m.rollout = p_rollout.name and m.bucket < v_share and m.version is null and m.problem is null
         order by m.bucket
         limit p_limit
           for no key update of s skip locked;
    end if;
end
$$;

comment on function _next_of_rollout(rollouts, integer) is
'Whose documents a rollout gives, or takes back, next: at most p_limit users, with their documents locked. Called by watch_rollouts().';
select _allow('_next_of_rollout', 'admin');
