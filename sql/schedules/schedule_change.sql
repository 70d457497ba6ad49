-- The user is that of this moment: a Telegram ID that leads to somebody else later changes nothing. Locks the user's row (for
-- no key update, as applying it does: two who had it for share would wait for each other); without p_at, what the change itself locks.
create or replace function schedule_change(
    p_identifier       text,
    p_setting_type     text,
    p_patch            jsonb default null,
    p_template         text default null,
    p_version          integer default null,
    p_at               timestamptz default null,
    p_until            timestamptz default null,
    p_for              interval default null,
    p_not_after        timestamptz default null,
    p_expected_version integer default null,
    p_reason           text default null,
    p_symbol           text default null
)
returns scheduled_changes
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user   app_users := _resolve_user(p_identifier);
    v_change scheduled_changes;
begin
    perform from app_users u where u.id = v_user.id for no key update;
    v_user := _lock_user(p_identifier);    -- alive
    v_change.okx_uid := v_user.okx_uid;
    v_change.setting_type := _with_symbol(p_setting_type, p_symbol);
    v_change.patch := p_patch;
    v_change.template := p_template;
    v_change.version := p_version;
    v_change.expected_version := p_expected_version;
    v_change.at := p_at;
    v_change.until := p_until;
    v_change.not_after := p_not_after;
    v_change.reason := p_reason;
    return _schedule_change(v_change, p_for, array[v_user.id]);
end
$$;

comment on function schedule_change(text, text, jsonb, text, integer, timestamp with time zone, timestamp with time zone, interval, timestamp with time zone, integer, text, text) is
'Has a user''s settings changed at a moment, by one of: a JSON merge patch, a template, a rollback to a version; returns the row of scheduled_changes, with its id. p_at null: now, in this transaction. p_until, or p_for (24 hours a day, whatever the clocks do): when it is taken back; the keys it changed get the values they had, unless somebody changed them since. p_not_after: it expires if it couldn''t be applied by then. Checked now and again when it is due; p_expected_version: then. Example: select id from schedule_change(''587662504768345929'', ''params'', ''{"leverage": 3}'', p_at => ''2026-12-01 13:25Z'', p_for => ''2 hours''). Raises US002, US003, US004, US006, US007, US009, US010 (a moment that has passed, or not one of the three); and without p_at what the change itself raises.';
select _allow('schedule_change', 'writer admin');
