-- Of deleted users, too, by OKX UID or UUID. Reads by idx_trades_user_exit or idx_trades_user_symbol_exit; no lock.
create or replace function get_trades(
    p_identifier  text,
    p_symbol      text default null,
    p_side        text default null,
    p_from        timestamptz default null,
    p_to          timestamptz default null,
    p_before_time timestamptz default null,
    p_before_id   uuid default null,
    p_limit       integer default null
)
returns setof trades
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_user_id uuid := (_resolve_user(p_identifier, true)).id;
begin
    perform _check_side(p_side);
    return query
    select * from trades t
     where t.user_id = v_user_id
       and (p_symbol is null or t.symbol = p_symbol)
       and (p_side is null or t.side = p_side)
       and t.exit_time >= coalesce(p_from, '-infinity') and t.exit_time < coalesce(p_to, 'infinity')
       and t.exit_time <= coalesce(p_before_time, 'infinity')
       and (p_before_time is null or t.exit_time < p_before_time or t.id > p_before_id)
     order by t.exit_time desc, t.id
     limit p_limit;
end
$$;

comment on function get_trades(text, text, text, timestamp with time zone, timestamp with time zone, timestamp with time zone, uuid, integer) is
'A user''s trades, newest exit first. p_from, p_to: exits from then on, before then. p_before_time, p_before_id, p_limit: the next page. Example: select symbol, net_pnl from get_trades(''587662504768345929'', p_side => ''long'', p_limit => 20). Raises US004, US007, US010.';
select _allow('get_trades', 'reader writer admin');
