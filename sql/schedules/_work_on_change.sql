-- A piece of a scheduled change that is due, whose row its caller holds. Each user in a subtransaction: what one refuses, or what
-- another session holds, keeps nobody else from it. What is held is tried again a second later. What was for a while
-- and is locked when it is over, by a bot that runs perhaps, is taken back when the lock is gone, and who is deleted by then gets
-- it back when restored: else it would stay for good.
create or replace function _work_on_change(p_change scheduled_changes, p_limit integer)
returns integer
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_item    scheduled_change_users;
    v_state   text;
    v_message text;
    v_detail  text;
    v_waits   boolean;
    v_count   integer := 0;
begin
    if p_change.state = 'waiting' and clock_timestamp() > least(p_change.not_after, p_change.until) then
        update scheduled_change_users i set outcome = 'expired', due_at = null, note = 'it couldn''t be applied in time'
         where i.schedule_id = p_change.id and i.outcome = 'waiting';
        if p_change.users is null then
            update scheduled_changes c set state = 'expired', due_at = null, ended_at = clock_timestamp(), note = 'it couldn''t be applied in time'
             where c.id = p_change.id;
            return 1;
        end if;
    elsif p_change.users is null then
        p_change := _find_scheduled_users(p_change);
    end if;
    for v_item in
        select * from scheduled_change_users i
         where i.schedule_id = p_change.id and i.due_at <= statement_timestamp()
         order by i.due_at, i.okx_uid limit p_limit for update skip locked
    loop
        v_count := v_count + 1;
        begin
            if v_item.outcome = 'waiting' then
                perform _apply_scheduled_change(p_change, v_item.user_id);
            else
                perform _take_back_change(p_change, v_item.user_id);
            end if;
        exception
            when lock_not_available or transaction_rollback or insufficient_resources then
                update scheduled_change_users i
                   set due_at = clock_timestamp() + interval '1 second', note = 'another transaction is in the way: tried again every second'
                 where i.schedule_id = p_change.id and i.user_id = v_item.user_id;
            when others then
                get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail;
                v_waits := v_state in ('US004', 'US013') and v_item.outcome = 'applied';
                update scheduled_change_users i
                   set due_at = case when v_waits then clock_timestamp() + interval '1 minute' end,
                       outcome = case when v_waits then i.outcome when v_state = 'US004' then 'skipped' else 'failed' end,
                       before = case when v_waits then i.before end, after = case when v_waits then i.after end,
                       note = _failure_note(v_state, v_message, v_detail)
                 where i.schedule_id = p_change.id and i.user_id = v_item.user_id;
        end;
    end loop;
    perform _note_progress(p_change.id);
    return greatest(v_count, 1);
end
$$;

comment on function _work_on_change(scheduled_changes, integer) is
'Applies a scheduled change that is due to p_limit of its users, or takes it back; returns to how many, 1 at least.';
select _allow('_work_on_change', 'admin');
