-- Of many users: each is changed for itself, so what one of them refuses doesn't keep it from the others. Without p_at: all or
-- none. A confined session: its user only, and no filter, which is evaluated by whoever runs it. Locks as schedule_change(), the
-- users in the order of their OKX UIDs.
create or replace function schedule_changes(
    p_setting_type text,
    p_identifiers  text[] default null,
    p_filter       jsonb default null,
    p_patch        jsonb default null,
    p_template     text default null,
    p_at           timestamptz default null,
    p_until        timestamptz default null,
    p_for          interval default null,
    p_not_after    timestamptz default null,
    p_reason       text default null,
    p_symbol       text default null
)
returns scheduled_changes
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_change scheduled_changes;
    v_users  uuid[];
begin
    if num_nonnulls(p_identifiers, p_filter) <> 1 or cardinality(p_identifiers) = 0 or jsonb_typeof(p_filter) <> 'object' then
        raise exception using errcode = 'US010',
            message = 'a change is scheduled for a list of users or for those that a filter will find',
            hint = 'Give one of these; a filter is an object, {} finds everybody who has such settings.';
    elsif p_filter is not null then
        perform check_confinement(null);
    end if;
    select array_agg(w.id order by w.okx_uid) into v_users
      from (select distinct (u.u).id, (u.u).okx_uid from unnest(p_identifiers) i, lateral (select _resolve_user(i) as u offset 0) u) w;
    perform from app_users u where u.id = any (v_users) order by u.okx_uid for no key update;
    v_change.setting_type := _with_symbol(p_setting_type, p_symbol);
    v_change.filter := _normalised_setting(p_setting_type, p_filter);
    v_change.patch := p_patch;
    v_change.template := p_template;
    v_change.at := p_at;
    v_change.until := p_until;
    v_change.not_after := p_not_after;
    v_change.reason := p_reason;
    return _schedule_change(v_change, p_for, v_users);
end
$$;

comment on function schedule_changes(text, text[], jsonb, jsonb, text, timestamp with time zone, timestamp with time zone, interval, timestamp with time zone, text, text) is
'Has the settings of a list of users changed at a moment, or of everybody whose document contains p_filter then; otherwise as schedule_change(). Each user is changed for itself: scheduled_change_users says what became of whom. Without p_at now: all or none. Example: select id from schedule_changes(''params'', p_filter => ''{"leverage": 20}'', p_template => ''careful'', p_at => ''2026-12-01 13:25Z''). Raises as schedule_change().';
select _allow('schedule_changes', 'admin');
