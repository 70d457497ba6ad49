-- As _give_rollout(): user by user; whose document can't be taken back is noted. A temporary change that lies over it goes back, when it
-- is over, to what was before both: see _hand_down_change(). Locks as _give_rollout() does, then the temporary changes; never waits.
create or replace function _take_back_rollout(p_rollout rollouts, p_limit integer, out okx_uids text[], out is_done boolean)
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user  record;
    v_tried integer := 0;
begin
    okx_uids := '{}';
    for v_user in
        select n.user_id, n.okx_uid, n.id, n.settings, n.before, n.after, w.document, w.kept
          from _next_of_rollout(p_rollout, p_limit) n
         cross join lateral _without_change(n.settings, n.before, n.after) w
    loop
        v_tried := v_tried + 1;
        begin
            perform from scheduled_change_users i
              where i.user_id = v_user.user_id and i.outcome = 'applied' and i.due_at is not null for update nowait;
            if v_user.document <> v_user.settings then
                update user_settings s set settings = v_user.document where s.id = v_user.id;
                okx_uids := okx_uids || v_user.okx_uid;
            end if;
            update scheduled_change_users i set before = (_without_change(i.before, v_user.before, v_user.after)).document
              from rollout_users m, scheduled_changes c
             where m.rollout = p_rollout.name and m.user_id = v_user.user_id and i.user_id = m.user_id and i.applied_at > m.given_at
               and i.outcome = 'applied' and i.due_at is not null and i.before is not null
               and c.id = i.schedule_id and c.setting_type = p_rollout.setting_type;
            update rollout_users m set taken_back_at = clock_timestamp(), kept = v_user.kept
             where m.rollout = p_rollout.name and m.user_id = v_user.user_id;
        exception
            when lock_not_available then null;    -- has its turn later
            when others then
                if sqlstate !~ '^(US|P0|23)' then raise; end if;    -- ours, another trigger's, a constraint's
                update rollout_users m set taken_back_at = clock_timestamp(), problem = left('not taken back: ' || _failure_note(sqlstate, sqlerrm, null), 200)
                 where m.rollout = p_rollout.name and m.user_id = v_user.user_id;
        end;
    end loop;
    is_done := v_tried < p_limit;
    if is_done then
        update rollout_users m
           set taken_back_at = clock_timestamp(),
               problem = case when exists (select from app_users u where u.id = m.user_id and u.deleted_at is not null)
                              then 'not taken back: the user is deleted' else format('has no %s any more', p_rollout.setting_type) end
         where m.rollout = p_rollout.name and m.version is not null and m.taken_back_at is null
           and not exists (select from user_settings s
                            where s.user_id = m.user_id and s.setting_type = p_rollout.setting_type and s.is_active and s.deleted_at is null);
    end if;
end
$$;

comment on function _take_back_rollout(rollouts, integer) is
'Gives some users back what a rollout changed, key by key, unless it was changed again since; whose documents changed, and whether nobody is left but those whom others hold. Called by watch_rollouts().';
select _allow('_take_back_rollout', 'admin');
