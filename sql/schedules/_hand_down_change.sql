-- Temporary changes may lie over each other: 20, then 3 until noon, then 5 until two o'clock. At noon 5 stays, and at two it is 20
-- again, not 3. A key that a later one has, which is still to be taken back, is left to that; if it was put right over this one
-- it now goes back to what was before this. So does a rollout that came after this, should it be rolled back. Its caller holds the
-- document, and so comes after or before the others' ends.
create or replace function _hand_down_change(p_change scheduled_changes, p_user_id uuid)
returns scheduled_change_users
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_item scheduled_change_users;
    v_next scheduled_change_users;
    v_keys text[];
    v_same text[];
begin
    select * into v_item from scheduled_change_users i where i.schedule_id = p_change.id and i.user_id = p_user_id;
    v_item.note := null;
    update rollout_users m
       set before = (select coalesce(jsonb_object_agg(e.key, e.value), '{}')
                       from _without_change(m.before, v_item.before, coalesce(v_item.after, '{}')) w
                      cross join lateral jsonb_each(w.document) e
                      where m.after ? e.key)
     where m.user_id = p_user_id and m.version is not null and m.taken_back_at is null and m.given_at > v_item.applied_at
       and exists (select from rollouts r where r.name = m.rollout and r.setting_type = p_change.setting_type);
    for v_next in
        select i.* from scheduled_change_users i join scheduled_changes c on c.id = i.schedule_id
         where i.user_id = p_user_id and i.schedule_id <> p_change.id and c.setting_type = p_change.setting_type
           and i.outcome = 'applied' and i.due_at is not null and (i.applied_at, i.schedule_id) > (v_item.applied_at, p_change.id)
         order by i.applied_at, i.schedule_id
    loop
        v_keys := array(select k from jsonb_object_keys(coalesce(v_item.before, '{}') || coalesce(v_item.after, '{}')) k
                         where coalesce(v_next.before, '{}') || coalesce(v_next.after, '{}') ? k order by k);
        continue when cardinality(v_keys) = 0;
        v_same := array(select k from unnest(v_keys) k where v_next.before -> k is not distinct from v_item.after -> k);
        v_next.before := (v_next.before - v_same)
            || coalesce((select jsonb_object_agg(k, v_item.before -> k) from unnest(v_same) k where v_item.before ? k), '{}');
        if v_item.before is null then
            v_next.before := nullif(v_next.before, '{}');    -- there was no document
        end if;
        update scheduled_change_users i set before = v_next.before
         where i.schedule_id = v_next.schedule_id and i.user_id = p_user_id;
        v_item.before := v_item.before - v_keys;
        v_item.after := v_item.after - v_keys;
        v_item.note := concat_ws('; ', v_item.note, format('left to schedule %s: %s', v_next.schedule_id, array_to_string(v_keys, ', ')));
    end loop;
    return v_item;
end
$$;

comment on function _hand_down_change(scheduled_changes, uuid) is
'What a scheduled change has to take back of one user: without the keys that a later temporary change has, which goes back to what was before both.';
select _allow('_hand_down_change');
