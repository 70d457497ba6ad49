-- The clock of all rollouts; the relay calls it each second. At most p_limit users a rollout and call: their documents are locked until the
-- transaction ends, each in a subtransaction, of which PostgreSQL keeps 64 at hand. Whoever is killed in between has lost nothing: who waits
-- still is in rollout_users. What is decided stays with who decided it (changed_by); the login is the caller's.
-- A rollout that fails says so in its note, and the others go on. In a confined session there is none, and none is moved where nothing can be written.
-- Passes by what others hold: rollouts and documents. A lock holds for all users of a rollout alike, also for those whom an admin gives
-- it to at once, overriding locks: the relay, which doesn't, goes on.
create or replace function watch_rollouts(p_name text default null, p_limit integer default 50)
returns table (name text, okx_uids text[], verdict text)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
#variable_conflict use_column
declare
    v_actor  text := coalesce(current_setting('settings_store.actor', true), '');
    v_reason text := coalesce(current_setting('settings_store.reason', true), '');
    v_given  text := coalesce(current_setting('settings_store.override_locks', true), '');
    v_row    rollouts;
    v_done   record;
begin
    if confined_to() is not null or current_setting('transaction_read_only')::boolean then
        return;
    elsif p_limit between 1 and 1000000 is not true then
        raise exception using errcode = 'US010', message = 'not a number of users', detail = 'It is 1-1000000.';
    end if;
    perform set_config('settings_store.override_locks', '', true);
    for v_row in
        select * from rollouts r where r.state in ('running', 'ending') and (p_name is null or r.name = p_name)
         order by r.name for no key update skip locked
    loop
        begin
            perform set_config('settings_store.actor', v_row.changed_by, true), set_config('settings_store.reason', _rollout_reason(v_row), true);
            v_done := _carry_on_rollout(v_row, p_limit);
            if v_done.verdict is not null or v_done.okx_uids <> '{}' then
                name     := v_row.name;
                okx_uids := v_done.okx_uids;
                verdict  := v_done.verdict;
                return next;
            end if;
        exception
            when serialization_failure or deadlock_detected or lock_not_available then
                raise;
            when others then
                update rollouts r set note = left('failed: ' || _failure_note(sqlstate, sqlerrm, null), 1000), next_look_at = clock_timestamp() + interval '5 minutes'
                 where r.name = v_row.name;
        end;
    end loop;
    perform set_config('settings_store.actor', v_actor, true), set_config('settings_store.reason', v_reason, true),
            set_config('settings_store.override_locks', v_given, true);
end
$$;

comment on function watch_rollouts(text, integer) is
'Carries on all rollouts (p_name: that one): gives or takes back settings of p_limit users, looks at results at most every 5 minutes, pauses what is worse, advances what is due. A row for each that something was done to: whose documents changed, and the verdict of a look. Called by the relay; from psql or pg_cron: select * from watch_rollouts(). Raises US010.';
select _allow('watch_rollouts', 'relay admin');
