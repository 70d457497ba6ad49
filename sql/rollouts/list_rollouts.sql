-- The newest first. Counts the users of all of them, by index. US012 in a confined session. No lock.
create or replace function list_rollouts(p_name text default null)
returns table (
    name text, template text, setting_type text, settings jsonb, filter jsonb, steps numeric[], control numeric, minimum_trades integer,
    step_time interval, guard text, currency text, on_worse text, reason text, state text, outcome text, step integer,
    users bigint, given bigint, waiting bigint, taken_back bigint, problems jsonb, treated_trades bigint, control_trades bigint,
    looks bigint, verdict text, note text, begun_at timestamptz, given_at timestamptz, next_look_at timestamptz, ended_at timestamptz,
    changed_by text, written_by text
)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform check_confinement(null);
    return query
    select r.name, r.template, r.setting_type, _mask_secrets(r.setting_type, r.settings), _mask_secrets(r.setting_type, r.filter), r.steps, r.control,
           r.minimum_trades, r.step_time, r.guard, r.currency, r.on_worse, r.reason, r.state, r.outcome, r.step,
           u.users, u.given, u.waiting, u.taken_back, p.problems, r.treated_trades, r.control_trades,
           x.looks, x.verdict, r.note, r.begun_at, r.given_at, r.next_look_at, r.ended_at, r.changed_by, r.written_by
      from rollouts r
     cross join lateral (select _rollout_share(r) as share offset 0) s    -- once, not for each user
     cross join lateral (select count(*) as users, count(m.version) - count(m.taken_back_at) as given,
                                case when r.outcome = 'roll_back' then count(*) filter (where m.version is not null and m.taken_back_at is null)
                                     when r.outcome = 'keep' then 0
                                     else count(*) filter (where m.version is null and m.problem is null and m.bucket < s.share) end as waiting,
                                count(m.taken_back_at) as taken_back
                           from rollout_users m where m.rollout = r.name) u
     cross join lateral (select coalesce(jsonb_object_agg(g.problem, g.users), '{}') as problems
                           from (select m.problem, count(*) as users from rollout_users m where m.rollout = r.name and m.problem is not null group by 1) g) p
     cross join lateral (select count(*) as looks, (array_agg(v.verdict order by v.step desc, v.look desc))[1] as verdict
                           from rollout_results v where v.rollout = r.name) x
     where p_name is null or r.name = p_name
     order by r.begun_at desc, r.name;
end
$$;

comment on function list_rollouts(text) is
'Rollouts, the newest first, or the one of a name: what it gives, where it is (state, step), of how many users; given: who has it; waiting: who is about to get it, or to be taken back; problems: how many were skipped, by why; the trades counted last, and the verdict of the last look. Secrets are masked. Example: select name, state, step, given, verdict from list_rollouts(). Raises US012.';
select _allow('list_rollouts', 'reader writer relay admin');
