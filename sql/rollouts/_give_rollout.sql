-- One user after the other, in a block each: what refuses one, be it the catalogue or a lock of the user's keys, is noted and stops nobody
-- else. Documents that others hold are left for the next call. Who has none any more is skipped.
-- Locks the documents it changes (never waiting), then the rollout's rows of them.
create or replace function _give_rollout(p_rollout rollouts, p_limit integer, out okx_uids text[], out is_done boolean)
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_share constant integer := _rollout_share(p_rollout);
    v_user  record;
    v_row   user_settings;
    v_tried integer := 0;
begin
    okx_uids := '{}';
    for v_user in select * from _next_of_rollout(p_rollout, p_limit) loop
        v_tried := v_tried + 1;
        begin
            update user_settings s set settings = s.settings || p_rollout.settings where s.id = v_user.id returning * into v_row;
            update rollout_users m
               set version = case when v_row.version > v_user.version then v_row.version end,
                   problem = case when v_row.version = v_user.version then 'has it so already' end,
                   before = c.before, after = c.after, given_at = clock_timestamp()
              from (select coalesce(jsonb_object_agg(k.key, v_user.settings -> k.key) filter (where v_user.settings ? k.key), '{}') as before,
                           coalesce(jsonb_object_agg(k.key, v_row.settings -> k.key), '{}') as after
                      from jsonb_object_keys(p_rollout.settings) k (key)
                     where v_user.settings -> k.key is distinct from v_row.settings -> k.key) c
             where m.rollout = p_rollout.name and m.user_id = v_user.user_id;
            if v_row.version > v_user.version then
                okx_uids := okx_uids || v_user.okx_uid;
            end if;
        exception
            when others then
                if sqlstate !~ '^(US|P0|23)' then raise; end if;    -- ours, another trigger's, a constraint's
                update rollout_users m set problem = left(_failure_note(sqlstate, sqlerrm, null), 200) where m.rollout = p_rollout.name and m.user_id = v_user.user_id;
        end;
    end loop;
    is_done := v_tried < p_limit;
    if is_done then
        update rollout_users m set problem = format('has no %s any more', p_rollout.setting_type)
         where m.rollout = p_rollout.name and m.bucket < v_share and m.version is null and m.problem is null
           and not exists (select from user_settings s
                            where s.user_id = m.user_id and s.setting_type = p_rollout.setting_type and s.is_active and s.deleted_at is null);
    end if;
end
$$;

comment on function _give_rollout(rollouts, integer) is
'Gives some users more of a rollout''s step what it gives; who got it, and whether nobody is left but those whom others hold. Called by watch_rollouts().';
select _allow('_give_rollout', 'admin');
