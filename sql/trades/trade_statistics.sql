-- Of deleted users, too; in a confined session of its user only. Without groups there is a row also without trades. Trades are
-- read and sorted once: all windows go along one order. No lock.
create or replace function trade_statistics(
    p_identifier text default null,
    p_symbol     text default null,
    p_side       text default null,
    p_from       timestamptz default null,
    p_to         timestamptz default null,
    p_group_by   text[] default '{}',
    p_year_days  integer default 365,
    p_capital    numeric default null,
    p_currency   text default null
)
returns setof trade_figures
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_only     text := confined_to();
    v_user_id  uuid := case when coalesce(p_identifier, v_only) is not null then (_resolve_user(coalesce(p_identifier, v_only), true)).id end;
    v_periods  text[] := array(select distinct g from unnest(p_group_by) g where g in ('day', 'week', 'month'));
    v_settings text[] := array(select distinct g from unnest(p_group_by) g where g ~ '^(params|dual_side)([.].+)?$');
    v_type     text := split_part(v_settings[1], '.', 1);
    v_key      text := nullif(substr(v_settings[1], length(v_type) + 2), '');
    v_is_secret boolean := exists (select from setting_fields f where f.setting_type = split_part(v_settings[1], '.', 1) and f.key = v_key and f.is_secret);
    v_currency text;
    v_row      trade_figures;
begin
    perform _check_side(p_side);
    if p_group_by is null or cardinality(v_periods) > 1 or cardinality(v_settings) > 1
       or exists (select from unnest(p_group_by) g where coalesce(g, '') <> all ('{user,symbol,side}' || v_periods || v_settings)) then
        raise exception using errcode = 'US010', message = 'trades can''t be grouped so',
            hint = 'By user, symbol, side; by one of day, week, month; by one of params, dual_side, params.KEY, dual_side.KEY.';
    elsif p_year_days is null or p_year_days < 1 then
        raise exception using errcode = 'US010', message = 'a year has at least one day';
    elsif not (p_capital > 0 and p_capital < 1e30) then
        raise exception using errcode = 'US010', message = 'no capital', hint = 'It is an amount above 0, below 1e30.';
    end if;
    for v_row in
    with trade as (
        select case when 'user' = any (p_group_by) or (v_type is not null and v_key is null) then t.okx_uid end as okx_uid,
               case when 'symbol' = any (p_group_by) then t.symbol end as symbol,
               case when 'side' = any (p_group_by) then t.side end as side,
               case when v_periods <> '{}' then date_trunc(v_periods[1], t.exit_time, 'UTC') end as period,
               case when v_key is null then n.version end as version,
               case when v_is_secret and s.settings ->> v_key is not null then secret_mask() else s.settings -> v_key end as value,
               t.currency, t.okx_uid as trader, t.exit_order_id collate "C" as closed_by, t.entry_time, t.exit_time,
               (t.exit_time at time zone 'UTC')::date as day,
               t.realized_pnl, t.entry_fee + t.exit_fee as fees, t.funding_fee, t.net_pnl as net
          from trades t
         cross join lateral (select case v_type when 'params' then t.params_version when 'dual_side' then t.dual_side_version end as version) n
          left join user_settings s on v_key is not null and s.user_id = t.user_id and s.setting_type = v_type and s.version = n.version
         where case when v_user_id is null then t.okx_uid <> probe_okx_uid() else t.user_id = v_user_id end
           and (p_symbol is null or t.symbol = p_symbol)
           and (p_side is null or t.side = p_side)
           and (p_currency is null or t.currency = p_currency)
           and t.exit_time >= coalesce(p_from, '-infinity') and t.exit_time < coalesce(p_to, 'infinity')
        offset 0    -- else the planner drops columns that are null from the first order only, and sorts for each of the next
    ), step as (
        select t.*, row_number() over each as number, lead(t.exit_time) over each as next_exit,
               sum(t.net) over moment as equity,    -- up to all that closed at this moment
               case when lag(t.day) over each is distinct from t.day
                    then sum(t.net) over (grp order by t.day range between current row and current row) end as net_of_day
          from trade t
        window grp as (partition by t.okx_uid, t.symbol, t.side, t.period, t.version, t.value, t.currency),
               moment as (grp order by t.day, t.exit_time),
               each as (grp order by t.day, t.exit_time, t.entry_time, t.trader, t.closed_by)
    ), curve as (
        select t.*, greatest(max(t.equity) over moment, 0) as high,
               t.number - coalesce(max(t.number) filter (where t.net <= 0) over each, 0) as won,    -- in a row
               t.number - coalesce(max(t.number) filter (where t.net >= 0) over each, 0) as lost
          from step t
        window grp as (partition by t.okx_uid, t.symbol, t.side, t.period, t.version, t.value, t.currency),
               moment as (grp order by t.day, t.exit_time),
               each as (grp order by t.day, t.exit_time, t.entry_time, t.trader, t.closed_by)
    ), fall as (
        select t.*, coalesce(max(t.exit_time) filter (where t.equity = t.high) over moment, min(t.exit_time) over moment) as high_at
          from curve t
        window moment as (partition by t.okx_uid, t.symbol, t.side, t.period, t.version, t.value, t.currency order by t.day, t.exit_time)
    ), figure as (
        select t.okx_uid, t.symbol, t.side, t.period, t.version, t.value, t.currency,
               count(distinct case when v_user_id is null then t.trader end) as users, count(*) as trades,    -- one user: nothing to sort
               count(*) filter (where t.net > 0) as wins, count(*) filter (where t.net < 0) as losses,
               coalesce(sum(t.net) filter (where t.net > 0), 0) as gross_profit, coalesce(-sum(t.net) filter (where t.net < 0), 0) as gross_loss,
               sum(t.realized_pnl) as realized_pnl, sum(t.fees) as fees, sum(t.funding_fee) as funding_fees, sum(t.net) as net_pnl,
               max(t.net) as best, min(t.net) as worst, max(t.won) as longest_win_streak, max(t.lost) as longest_loss_streak,
               avg(t.exit_time - t.entry_time) as average_holding, min(t.exit_time - t.entry_time) as min_holding,
               max(t.exit_time - t.entry_time) as max_holding,
               max(t.high - t.equity) as max_drawdown, 100 * max((t.high - t.equity) / (p_capital + t.high)) as max_drawdown_percent,
               coalesce(max(coalesce(t.next_exit, t.exit_time) - t.high_at) filter (where t.equity < t.high), '0') as max_drawdown_duration,
               max(t.day) - min(t.day) + 1 as days, sum(t.net_of_day * t.net_of_day) as squares,
               sum(t.net_of_day * t.net_of_day) filter (where t.net_of_day < 0) as squares_of_losses,
               min(t.exit_time) as first_exit, max(t.exit_time) as last_exit
          from fall t
         group by t.okx_uid, t.symbol, t.side, t.period, t.version, t.value, t.currency
    )
    select f.okx_uid, f.symbol, f.side, f.period, f.version,
           (select s.updated_at from app_users u join user_settings s on s.user_id = u.id
             where u.okx_uid = f.okx_uid and s.setting_type = v_type and s.version = f.version),
           f.value, f.currency, greatest(f.users, 1), f.trades, f.wins, f.losses, f.trades - f.wins - f.losses, f.wins / f.trades::numeric,
           f.gross_profit, f.gross_loss, f.gross_profit / nullif(f.gross_loss, 0),
           f.realized_pnl, f.fees, f.funding_fees, f.net_pnl, f.best, f.worst, f.net_pnl / f.trades,
           f.gross_profit / nullif(f.wins, 0), f.gross_loss / nullif(f.losses, 0),
           f.net_pnl / f.trades, f.net_pnl * f.losses / nullif(f.trades * f.gross_loss, 0), f.longest_win_streak, f.longest_loss_streak,
           f.average_holding, f.min_holding, f.max_holding, f.max_drawdown, f.max_drawdown_duration,
           -- The mean by the deviation, with nothing rounded before the root: days that are all equal have none.
           case when f.days * f.squares > f.net_pnl * f.net_pnl
                then f.net_pnl * sqrt((f.days - 1) * p_year_days::numeric / (f.days * (f.days * f.squares - f.net_pnl * f.net_pnl))) end,
           case when f.days > 1 then f.net_pnl * sqrt(p_year_days / (f.days * f.squares_of_losses)) end,
           f.max_drawdown_percent, g.cagr_percent, g.cagr_percent / nullif(f.max_drawdown_percent, 0), f.first_exit, f.last_exit
      from figure f
     cross join lateral (select case when f.days > 1 and p_capital + f.net_pnl > 0
                                     then ln((p_capital + f.net_pnl) / p_capital) * p_year_days / f.days end as exponent) e
     cross join lateral (select case when e.exponent < ln(1e28) then 100 * (exp(e.exponent) - 1) end as cagr_percent) g
     order by f.okx_uid, f.symbol, f.side, f.period, f.version, f.value, f.currency
    loop
        v_currency := coalesce(v_currency, v_row.currency, '');
        if p_capital is not null and coalesce(v_row.currency, '') <> v_currency then
            raise exception using errcode = 'US010', message = 'a capital is of one currency, these trades are of several',
                hint = 'Select those of one currency.';
        end if;
        return next v_row;
    end loop;
    if v_currency is null and p_group_by = '{}' then
        return next jsonb_populate_record(null::trade_figures,
            '{"users": 0, "trades": 0, "wins": 0, "losses": 0, "break_even": 0, "gross_profit": 0, "gross_loss": 0, "realized_pnl": 0, "fees": 0,
              "net_pnl": 0, "longest_win_streak": 0, "longest_loss_streak": 0, "max_drawdown": 0, "max_drawdown_duration": "0"}');
    end if;
end
$$;

comment on function trade_statistics(text, text, text, timestamp with time zone, timestamp with time zone, text[], integer, numeric, text) is
'Figures of the trades of a user, or (null) of all, a row per currency: win rate, profit factor, PnL, drawdown, Sharpe ratio …; \d+ trade_figures says what each is. p_group_by: a row per user, symbol, side; day, week or month; params or dual_side (version), or the value of a key of theirs (params.leverage). p_year_days: the days of a year, by which is annualised; 1: it isn''t. p_capital: what each row began with, in its currency. p_currency: trades of that one. Example: select symbol, currency, trades, net_pnl from trade_statistics(''587662504768345929'', p_group_by => ''{symbol}''). Raises US004, US007, US010.';
select _allow('trade_statistics', 'reader writer admin');
