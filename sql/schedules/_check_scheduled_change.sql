-- A patch for the keys it has: what the document holds when it is due, nobody knows yet. Reads only.
create or replace function _check_scheduled_change(p_change scheduled_changes)
returns void
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_type text := (check_setting_type(p_change.setting_type)).setting_type;
    v_end  constant timestamptz := now() + make_interval(days => 36500);
begin
    if num_nonnulls(p_change.patch, p_change.template, p_change.version) <> 1 then
        raise exception using errcode = 'US010', message = 'a change is a patch, a template or a rollback to a version: give one of these';
    elsif p_change.at < now() or greatest(p_change.at, p_change.until, p_change.not_after) > v_end then
        raise exception using errcode = 'US010',
            message = 'not a moment that a change can be scheduled for',
            detail = 'It has passed, or is more than 36500 days away.',
            hint = 'Leave p_at out to have it now.';
    elsif p_change.until <= p_change.at or p_change.not_after < p_change.at then
        raise exception using errcode = 'US010',
            message = 'a change ends after it begins, and expires no earlier';
    elsif p_change.expected_version < 0 then
        raise exception using errcode = 'US010', message = 'a version is 0 (there is none yet) or more';
    end if;
    perform _check_length('reason', p_change.reason, 900);    -- of 1000, behind what says which schedule it was
    if p_change.patch is not null then
        if jsonb_typeof(p_change.patch) <> 'object' then
            raise exception using errcode = 'US003', message = 'invalid settings', detail = '{"$": "the patch must be an object"}';
        end if;
        perform _check_settings(p_change.setting_type, _patched_setting(p_change.setting_type, '{}', p_change.patch), true);
    elsif p_change.template is not null then
        perform setting_template(p_change.template, v_type);
    elsif (user_setting_version(p_change.okx_uid, p_change.setting_type, p_change.version)).settings ?| '{$unreadable,$too_large}' then
        raise exception using errcode = 'US006',
            message = format('version %s is no document', p_change.version),
            detail = 'It is a note of what was found in Redis.';
    end if;
end
$$;

comment on function _check_scheduled_change(scheduled_changes) is
'Raises US002, US003, US006, US009 or US010 unless that change could be applied one day.';
select _allow('_check_scheduled_change', 'admin');
