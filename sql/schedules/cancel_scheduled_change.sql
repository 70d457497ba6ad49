-- What it did stays, unless p_take_back. Of a list that is half done: for the others. A confined session: its user's only; whether
-- there are others isn't told. Locks the schedule, which a relay at work on it holds for a moment, then what is taken back.
create or replace function cancel_scheduled_change(p_id bigint, p_take_back boolean default false)
returns scheduled_changes
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_change scheduled_changes;
    v_user   uuid;
begin
    select * into v_change from scheduled_changes c where c.id = p_id for update;
    perform check_confinement(coalesce(v_change.okx_uid, ''));
    if v_change.due_at is null then
        raise exception using errcode = 'US014',
            message = format('there is no scheduled change %s to cancel', coalesce(p_id::text, 'null')),
            detail = case when v_change.id is null then 'there is none of this number' else 'it is over: ' || v_change.state end,
            hint = 'list_scheduled_changes(p_to_come => true), or settings-store schedule list --to-come, has what can be cancelled.';
    end if;
    if p_take_back then
        for v_user in
            select i.user_id from scheduled_change_users i
             where i.schedule_id = p_id and i.outcome = 'applied' and i.due_at is not null order by i.okx_uid
        loop
            perform _take_back_change(v_change, v_user);
        end loop;
    end if;
    update scheduled_change_users i
       set due_at = null, before = null, after = null, outcome = case when i.outcome = 'waiting' then 'cancelled' else i.outcome end
     where i.schedule_id = p_id and i.due_at is not null;
    update scheduled_changes c set state = 'cancelled', due_at = null where c.id = p_id;
    return _shown_change(_note_progress(p_id));
end
$$;

comment on function cancel_scheduled_change(bigint, boolean) is
'Has nothing more happen of a scheduled change: it isn''t applied, or, if it is already, isn''t taken back but stays as it is; with p_take_back it is taken back now. Returns its row. Example: select state from cancel_scheduled_change(7). Raises US012, US014 (over, or unknown), and with p_take_back what a save raises.';
select _allow('cancel_scheduled_change', 'writer admin');
