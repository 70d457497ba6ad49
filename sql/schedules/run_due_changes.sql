-- Called by every relay once a second, by pg_cron, by anybody in psql: several at once share the work, a killed one leaves what
-- it did undone, and what it did is noted in the same transaction. At most p_limit users a call, so that nobody waits for long:
-- with 50 their subtransactions fit into PostgreSQL's cache (64). Waits for others 10 ms at most each. Does nothing where nothing
-- can be written. A confined session: what is of its user alone. Who overrides locks does so for changes of their own, not for these.
create or replace function run_due_changes(p_limit integer default 50)
returns table (schedule_id bigint, state text, note text)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set lock_timeout = '10ms'
as $$
declare
    v_given   text := coalesce(current_setting('settings_store.override_locks', true), '');
    v_left    integer := greatest(p_limit, 1);
    v_change  scheduled_changes;
    v_state   text;
    v_message text;
    v_detail  text;
begin
    perform set_config('settings_store.override_locks', '', true);
    while v_left > 0 and not current_setting('transaction_read_only')::boolean loop
        v_change := _next_due_change();
        exit when v_change.id is null;
        begin
            v_left := v_left - _work_on_change(v_change, v_left);
        exception
            when lock_not_available or transaction_rollback or insufficient_resources then
                v_left := v_left - 1;
                update scheduled_changes c set due_at = clock_timestamp() + interval '1 second' where c.id = v_change.id;
            when others then
                get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail;
                v_left := v_left - 1;
                update scheduled_changes c
                   set state = 'failed', due_at = null, ended_at = clock_timestamp(), note = _failure_note(v_state, v_message, v_detail)
                 where c.id = v_change.id;
        end;
        return query select c.id, c.state, c.note from scheduled_changes c where c.id = v_change.id;
    end loop;
    perform set_config('settings_store.override_locks', v_given, true);
end
$$;

comment on function run_due_changes(integer) is
'Applies scheduled changes that are due, and takes back those that are over, for p_limit users at most; returns a row for each it worked on. Call it again until there is none. What fails is noted in its row and keeps nothing else from being done. Example: select * from run_due_changes().';
select _allow('run_due_changes', 'relay admin');
