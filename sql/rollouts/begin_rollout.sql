-- The first users get it at once, the others by watch_rollouts(), which the relay calls: a step is never one transaction. Who has it so
-- already isn't in it. Who is registered later isn't either. The template is copied: it may change, or go.
-- Waits for others who begin one; locks no user but the first ones' documents, and skips those that others hold.
create or replace function begin_rollout(
    p_name           text,
    p_template       text,
    p_setting_type   text,
    p_steps          numeric[] default '{5,25,100}',
    p_filter         jsonb default '{}',
    p_minimum_trades integer default 100,
    p_guard          text default 'net_per_trade',
    p_on_worse       text default 'pause',
    p_step_time      interval default null,
    p_control        numeric default 10,
    p_currency       text default 'USDT',
    p_reason         text default null
)
returns rollouts
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row rollouts;
begin
    perform check_confinement(null);
    v_row.settings := (setting_template(p_template, p_setting_type)).settings;
    perform _check_versioned(p_setting_type);
    perform _check_settings(p_setting_type, v_row.settings, true);
    v_row.name           := p_name;
    v_row.steps          := p_steps;
    v_row.control        := p_control;
    v_row.minimum_trades := p_minimum_trades;
    v_row.step_time      := p_step_time;
    v_row.guard          := p_guard;
    v_row.currency       := p_currency;
    v_row.on_worse       := p_on_worse;
    v_row.reason         := coalesce(p_reason, _writer_note('reason'));
    perform _check_rollout(v_row);
    if jsonb_typeof(p_filter) is distinct from 'object' then
        raise exception using errcode = 'US010', message = 'not a filter', detail = 'It is an object of keys and values; {} finds everybody.';
    end if;
    perform _check_overlap(p_setting_type, v_row.settings, p_name);
    if exists (select from rollouts r where r.name = p_name) then
        raise exception using errcode = 'US015', message = format('there is a rollout %s already', quote_ident(p_name)),
            hint = 'Its results stay under its name: give this one another.';
    end if;

    insert into rollouts (name, template, setting_type, settings, filter, steps, control, minimum_trades, step_time, guard, currency, on_worse,
                          reason, changed_by)
    values (p_name, p_template, p_setting_type, v_row.settings, p_filter, array(select trim_scale(s) from unnest(p_steps) s), trim_scale(p_control), p_minimum_trades, p_step_time, p_guard, p_currency,
            p_on_worse, v_row.reason, coalesce(_writer_note('actor'), session_user));
    insert into rollout_users (rollout, user_id, okx_uid, bucket)
    select p_name, s.user_id, s.okx_uid, rollout_bucket(p_name, s.okx_uid)
      from find_users_by_setting(p_setting_type, p_filter) s
     where s.settings || v_row.settings <> s.settings;
    if not found then
        raise exception using errcode = 'US010', message = 'nobody is left for this rollout',
            detail = format('Nobody has such %s, or everybody has it so already.', p_setting_type);
    end if;
    perform watch_rollouts(p_name);
    select * into v_row from rollouts r where r.name = p_name;
    return v_row;
end
$$;

comment on function begin_rollout(text, text, text, numeric[], jsonb, integer, text, text, interval, numeric, text, text) is
'Begins to give a template to users step by step: to those whose rollout_bucket() is below the step''s percentage; their results are compared with those of who doesn''t have it, and the rollout is paused (or rolled back: p_on_worse) if they are worse beyond chance. p_filter: whom it is about. p_minimum_trades: closed trades of either group before the first look. p_guard: net_per_trade, win_rate or drawdown. p_step_time: advance by itself after that, unless it is worse; null: by advance_rollout() only. p_control: percent who get nothing before the end. p_currency: of the trades that are compared. Example: select begin_rollout(''careful-first'', ''careful'', ''params'', ''{5,25,100}'', p_filter => ''{"leverage": 20}''). Raises US002, US003, US009 (no such template), US010, US015 (the name is taken, another one changes the same keys).';
select _allow('begin_rollout', 'admin');
