-- The common part of schedule_change() and schedule_changes(), whose callers hold the users.
create or replace function _schedule_change(p_change scheduled_changes, p_for interval, p_users uuid[])
returns scheduled_changes
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_is_now boolean := p_change.at is null or p_change.at = now();
    v_user   uuid;
begin
    p_change.at := case when v_is_now then statement_timestamp() else p_change.at end;
    if num_nonnulls(p_change.until, p_for) = 2 then
        raise exception using errcode = 'US010', message = 'a change ends at a moment or after a time: give one of these';
    elsif p_for is not null then
        if not p_for between '1 second' and '36500 days' then
            raise exception using errcode = 'US010', message = 'a change is for a second at least, and for 36500 days at most';
        end if;
        p_change.until := p_change.at + make_interval(secs => date_part('epoch', p_for));    -- a day has 24 hours
    end if;
    p_change.scheduled_by := coalesce(_writer_note('actor'), session_user);
    p_change.reason := coalesce(p_change.reason, _writer_note('reason'));
    p_change.patch := _normalised_setting(p_change.setting_type, p_change.patch);
    perform _check_scheduled_change(p_change);

    insert into scheduled_changes (okx_uid, setting_type, filter, patch, template, version, expected_version, at, until, not_after,
                                   reason, scheduled_by, due_at, users)
    values (p_change.okx_uid, p_change.setting_type, p_change.filter, p_change.patch, p_change.template, p_change.version,
            p_change.expected_version, p_change.at, p_change.until, p_change.not_after, p_change.reason, p_change.scheduled_by,
            p_change.at, cardinality(p_users))
    returning * into p_change;
    insert into scheduled_change_users (schedule_id, user_id, okx_uid, due_at)
    select p_change.id, u.id, u.okx_uid, p_change.at from app_users u where u.id = any (p_users);
    if v_is_now then
        if p_change.filter is not null then
            p_change := _find_scheduled_users(p_change);
            perform from app_users u
              where u.id in (select i.user_id from scheduled_change_users i where i.schedule_id = p_change.id) order by u.okx_uid for no key update;
        end if;
        for v_user in select i.user_id from scheduled_change_users i where i.schedule_id = p_change.id order by i.okx_uid loop
            perform _apply_scheduled_change(p_change, v_user);
        end loop;
        p_change := _note_progress(p_change.id);
    end if;
    return _shown_change(p_change);
end
$$;

comment on function _schedule_change(scheduled_changes, interval, uuid[]) is
'Checks a change, keeps it with its users, and applies it if it is for now; returns it with secrets masked. Raises as schedule_change() does.';
select _allow('_schedule_change', 'admin');
