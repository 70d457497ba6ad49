-- Of deleted users, too; in a confined session of its user only. A user's newest version where trades of several closed at one
-- moment; null of everybody's trades, as versions of several users aren't one. No lock.
create or replace function equity_curve(
    p_identifier   text default null,
    p_setting_type text default 'params',
    p_symbol       text default null,
    p_side         text default null,
    p_from         timestamptz default null,
    p_to           timestamptz default null,
    p_currency     text default null
)
returns table (currency text, "time" timestamptz, trades bigint, net_pnl numeric, equity numeric, drawdown numeric, version integer)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_only    text := confined_to();
    v_user_id uuid := case when coalesce(p_identifier, v_only) is not null then (_resolve_user(coalesce(p_identifier, v_only), true)).id end;
begin
    perform _check_side(p_side);
    perform _check_versioned(p_setting_type);
    return query
    with step as (
        select t.currency, t.exit_time, count(*) as trades, sum(t.net_pnl) as net_pnl,
               sum(sum(t.net_pnl)) over (partition by t.currency order by t.exit_time) as equity,
               case when v_user_id is not null
                    then max(case p_setting_type when 'params' then t.params_version else t.dual_side_version end) end as version
          from trades t
         where case when v_user_id is null then t.okx_uid <> probe_okx_uid() else t.user_id = v_user_id end
           and (p_symbol is null or t.symbol = p_symbol)
           and (p_side is null or t.side = p_side)
           and (p_currency is null or t.currency = p_currency)
           and t.exit_time >= coalesce(p_from, '-infinity') and t.exit_time < coalesce(p_to, 'infinity')
         group by t.currency, t.exit_time
    )
    select s.currency, s.exit_time, s.trades, s.net_pnl, s.equity,
           greatest(max(s.equity) over (partition by s.currency order by s.exit_time), 0) - s.equity, s.version
      from step s
     order by s.currency, s.exit_time;
end
$$;

comment on function equity_curve(text, text, text, text, timestamp with time zone, timestamp with time zone, text) is
'The summed net PnL of the trades of a user, or (null) of all, begun at 0: per currency, a row per moment at which trades closed. net_pnl: of these; equity: summed up to them; drawdown: how far below the highest equity so far, as a positive amount; version: of params or dual_side, in force at entry. Example: select time, equity, drawdown, version from equity_curve(''587662504768345929'', p_currency => ''USDT''). Raises US004, US007, US010.';
select _allow('equity_curve', 'reader writer admin');
