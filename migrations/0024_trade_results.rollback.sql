-- Funding fees and currencies stay in extra. net_pnl is without funding again.
update trades set extra = extra || jsonb_strip_nulls(jsonb_build_object('funding_fee', funding_fee, 'currency', currency))
 where funding_fee is not null or currency is not null;
alter table trades drop column net_pnl, drop column funding_fee, drop column currency;
alter table trades add column net_pnl numeric not null generated always as (realized_pnl - entry_fee - exit_fee) stored;
comment on column trades.entry_fee is 'What was paid; a rebate is negative. So is exit_fee.';
comment on column trades.realized_pnl is 'Before fees.';
comment on column trades.net_pnl is 'After both fees.';
comment on table trades is 'One row per closed trade, as the exchange reported it. Written by record_trade() and record_trades(); a recorded trade never changes.';

drop type trade_figures;
create type trade_figures as (
    okx_uid         text,
    symbol          text,
    side            text,
    period          timestamptz,
    version         integer,
    saved_at        timestamptz,
    trades          bigint,
    wins            bigint,
    losses          bigint,
    break_even      bigint,
    win_rate        numeric,
    gross_profit    numeric,
    gross_loss      numeric,
    profit_factor   numeric,
    realized_pnl    numeric,
    fees            numeric,
    net_pnl         numeric,
    best            numeric,
    worst           numeric,
    average         numeric,
    average_win     numeric,
    average_loss    numeric,
    average_holding interval,
    min_holding     interval,
    max_holding     interval,
    max_drawdown    numeric,
    sharpe          numeric,
    first_exit      timestamptz,
    last_exit       timestamptz
);
comment on type trade_figures is 'What trade_statistics() tells of a group of trades: the first six columns say of which (null: of all), then the figures.';
comment on column trade_figures.period is 'Begin of the day, week or month (UTC) of the exits.';
comment on column trade_figures.version is 'Of the setting type that was grouped by, in force at entry; saved_at: when it was saved, null if it was pruned.';
comment on column trade_figures.wins is 'Trades with a net PnL above 0; losses: below 0; break_even: 0.';
comment on column trade_figures.win_rate is 'Wins of all trades, from 0 to 1.';
comment on column trade_figures.gross_profit is 'Net PnL of the winning trades; gross_loss: of the losing ones, as a positive amount; so is average_loss.';
comment on column trade_figures.profit_factor is 'gross_profit / gross_loss; null without a loss.';
comment on column trade_figures.best is 'Of the net PnL; worst and average, too.';
comment on column trade_figures.max_drawdown is 'The deepest fall of the summed net PnL, begun at 0, from an earlier high, as a positive amount. Trades closed at one moment are one step.';
comment on column trade_figures.sharpe is 'Mean / sample standard deviation of the net PnL per UTC day, days without a trade between the first and the last exit included, times the root of the days of a year. Null for fewer than two days, or if all are equal.';
