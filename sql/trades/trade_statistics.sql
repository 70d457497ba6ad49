-- Of deleted users, too; in a confined session of its user only. Without groups there is one row, also without trades.
-- p_year_days: the days of a year by which the Sharpe ratio is annualised; 1: it isn't. Reads each trade once; no lock.
create or replace function trade_statistics(
    p_identifier text default null,
    p_symbol     text default null,
    p_side       text default null,
    p_from       timestamptz default null,
    p_to         timestamptz default null,
    p_group_by   text[] default '{}',
    p_year_days  integer default 365
)
returns setof trade_figures
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_only    text := confined_to();
    v_user_id uuid := case when coalesce(p_identifier, v_only) is not null then (_resolve_user(coalesce(p_identifier, v_only), true)).id end;
    v_periods text[] := array(select distinct g from unnest(p_group_by) g where g in ('day', 'week', 'month'));
    v_types   text[] := array(select distinct g from unnest(p_group_by) g where g in ('params', 'dual_side'));
begin
    perform _check_side(p_side);
    if p_group_by is null or cardinality(v_periods) > 1 or cardinality(v_types) > 1
       or exists (select from unnest(p_group_by) g where coalesce(g, '') not in ('user', 'symbol', 'side', 'day', 'week', 'month', 'params', 'dual_side')) then
        raise exception using errcode = 'US010', message = 'trades can''t be grouped so',
            hint = 'By user, symbol, side; by one of day, week, month; by one of params, dual_side.';
    elsif p_year_days is null or p_year_days < 1 then
        raise exception using errcode = 'US010', message = 'a year has at least one day';
    end if;
    return query
    with trade as (
        select case when 'user' = any (p_group_by) or v_types <> '{}' then t.okx_uid end as okx_uid,
               case when 'symbol' = any (p_group_by) then t.symbol end as symbol,
               case when 'side' = any (p_group_by) then t.side end as side,
               case when v_periods <> '{}' then date_trunc(v_periods[1], t.exit_time, 'UTC') end as period,
               case v_types[1] when 'params' then t.params_version when 'dual_side' then t.dual_side_version end as version,
               t.exit_time, (t.exit_time at time zone 'UTC')::date as day, t.exit_time - t.entry_time as holding,
               t.realized_pnl, t.entry_fee + t.exit_fee as fees, t.net_pnl as net
          from trades t
         where case when v_user_id is null then t.okx_uid <> probe_okx_uid() else t.user_id = v_user_id end
           and (p_symbol is null or t.symbol = p_symbol)
           and (p_side is null or t.side = p_side)
           and t.exit_time >= coalesce(p_from, '-infinity') and t.exit_time < coalesce(p_to, 'infinity')
        union all    -- none: so that there is a row
        select null, null, null, null, null, null, null, null, null, null, null where p_group_by = '{}'
    ), curve as (
        select t.*, sum(t.net) over (g order by t.exit_time) as equity,    -- up to all that closed at this moment
               case when row_number() over (partition by t.okx_uid, t.symbol, t.side, t.period, t.version, t.day) = 1
                    then sum(t.net) over (partition by t.okx_uid, t.symbol, t.side, t.period, t.version, t.day) end as net_of_day
          from trade t
        window g as (partition by t.okx_uid, t.symbol, t.side, t.period, t.version)
    ), fall as (
        select c.*, greatest(max(c.equity) over (partition by c.okx_uid, c.symbol, c.side, c.period, c.version order by c.exit_time), 0)
                    - c.equity as drawdown
          from curve c
    ), figure as (
        select f.okx_uid, f.symbol, f.side, f.period, f.version, count(f.exit_time) as trades,
               count(*) filter (where f.net > 0) as wins, count(*) filter (where f.net < 0) as losses,
               coalesce(sum(f.net) filter (where f.net > 0), 0) as gross_profit, coalesce(-sum(f.net) filter (where f.net < 0), 0) as gross_loss,
               coalesce(sum(f.realized_pnl), 0) as realized_pnl, coalesce(sum(f.fees), 0) as fees, coalesce(sum(f.net), 0) as net_pnl,
               max(f.net) as best, min(f.net) as worst,
               avg(f.holding) as average_holding, min(f.holding) as min_holding, max(f.holding) as max_holding,
               coalesce(max(f.drawdown), 0) as max_drawdown, max(f.day) - min(f.day) + 1 as days, sum(f.net_of_day * f.net_of_day) as squares,
               min(f.exit_time) as first_exit, max(f.exit_time) as last_exit
          from fall f
         group by f.okx_uid, f.symbol, f.side, f.period, f.version
    )
    select f.okx_uid, f.symbol, f.side, f.period, f.version,
           (select s.updated_at from app_users u join user_settings s on s.user_id = u.id
             where u.okx_uid = f.okx_uid and s.setting_type = v_types[1] and s.version = f.version),
           f.trades, f.wins, f.losses, f.trades - f.wins - f.losses, f.wins / nullif(f.trades, 0)::numeric,
           f.gross_profit, f.gross_loss, f.gross_profit / nullif(f.gross_loss, 0),
           f.realized_pnl, f.fees, f.net_pnl, f.best, f.worst, f.net_pnl / nullif(f.trades, 0),
           f.gross_profit / nullif(f.wins, 0), f.gross_loss / nullif(f.losses, 0),
           f.average_holding, f.min_holding, f.max_holding, f.max_drawdown,
           -- The mean by the deviation, with nothing rounded before the root: days that are all equal have none.
           case when f.days * f.squares > f.net_pnl * f.net_pnl
                then f.net_pnl * sqrt((f.days - 1) * p_year_days::numeric / (f.days * (f.days * f.squares - f.net_pnl * f.net_pnl))) end,
           f.first_exit, f.last_exit
      from figure f
     order by f.okx_uid, f.symbol, f.side, f.period, f.version;
end
$$;

comment on function trade_statistics(text, text, text, timestamp with time zone, timestamp with time zone, text[], integer) is
'Figures of the trades of a user, or (null) of all: win rate, profit factor, PnL, drawdown, Sharpe ratio …; \d+ trade_figures says what each is. p_group_by: a row per user, symbol, side; day, week or month; params or dual_side (version). Example: select symbol, trades, net_pnl from trade_statistics(''587662504768345929'', p_group_by => ''{symbol}''). Raises US004, US007, US010.';
select _allow('trade_statistics', 'reader writer admin');
