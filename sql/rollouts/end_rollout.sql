-- Rolled back can be what has ended, too: the harm may show late; and again, for those whom a lock or the catalogue kept from it, and who was deleted then. Locks the rollout, then as begin_rollout().
create or replace function end_rollout(p_name text, p_outcome text, p_reason text default null)
returns rollouts
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row rollouts := _lock_rollout(p_name, case when p_outcome = 'roll_back' then '{running,paused,ending,ended}' else '{running,paused}' end::text[],
                                    'What has ended otherwise can be rolled back still.');
begin
    if p_outcome in ('keep', 'everybody', 'roll_back') is not true then
        raise exception using errcode = 'US010', message = 'not an outcome of a rollout',
            detail = 'keep: who has it keeps it; everybody: all get it, the control group too; roll_back: each gets back what was before.';
    elsif v_row.outcome = 'roll_back' then
        update rollout_users m set taken_back_at = null, problem = null
         where m.rollout = p_name and v_row.state = 'ended' and m.version is not null and m.problem like 'not taken back: %';
    end if;
    if v_row.outcome = 'roll_back' and not found then
        raise exception using errcode = 'US015', message = format('the rollout %s was rolled back already', quote_ident(p_name));
    elsif v_row.state = 'ended' then
        perform _check_overlap(v_row.setting_type, v_row.settings, p_name);
    end if;
    update rollouts r
       set state = case when p_outcome = 'keep' then 'ended' else 'ending' end, outcome = p_outcome,
           ended_at = case when p_outcome = 'keep' then clock_timestamp() end, note = null,
           reason = coalesce(left(coalesce(p_reason, _writer_note('reason')), 900), r.reason),
           changed_by = coalesce(_writer_note('actor'), session_user), written_by = session_user
     where r.name = p_name;
    perform watch_rollouts(p_name);
    select * into v_row from rollouts r where r.name = p_name;
    return v_row;
end
$$;

comment on function end_rollout(text, text, text) is
'Ends a rollout. p_outcome: keep, who has it keeps it; everybody, all users of it get it, the control group too; roll_back, each key that it changed gets back the value it had, user by user, unless it was changed again since; said again, for those whom a lock kept from that, or who were deleted then and are restored. Users follow by watch_rollouts(), as the relay calls it. Example: select state from end_rollout(''careful-first'', ''roll_back'', ''no better''). Raises US010 (no such outcome), US015 (no such rollout, ended already).';
select _allow('end_rollout', 'admin');
