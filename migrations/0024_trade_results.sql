-- What a trade earned: funding fees and the currency, and figures per currency. Rewrites trades, as net_pnl is made anew.
-- depends: 0022_integers

alter table trades
    add column funding_fee numeric,
    add column currency text,
    add constraint trades_funding_fee check (abs(funding_fee) < 1e30),
    add constraint trades_currency check (currency ~ '^[A-Z0-9]{1,20}$'),
    drop column net_pnl;
alter table trades
    add column net_pnl numeric not null generated always as (realized_pnl - entry_fee - exit_fee - coalesce(funding_fee, 0)) stored;

comment on column trades.entry_fee is 'What was paid; a rebate is negative. So is exit_fee, which has a liquidation''s penalty, too. OKX''s fee and liqPenalty have the other sign.';
comment on column trades.realized_pnl is 'What the prices made, before fees and funding: OKX''s pnl. OKX''s realizedPnl is net_pnl.';
comment on column trades.funding_fee is 'What was paid for funding while the position was open; what was received is negative: OKX''s fundingFee with the other sign. Null: not known, and not in net_pnl.';
comment on column trades.currency is 'Of realized_pnl, net_pnl and the fees, as in USDT. Null: not known. Amounts of several currencies are never summed.';
comment on column trades.net_pnl is 'After fees and funding: realized_pnl - entry_fee - exit_fee - funding_fee.';
comment on table trades is 'One row per closed trade, as the exchange reported it. Written by record_trade() and record_trades(); what is recorded never changes, but a funding_fee and a currency that aren''t known can be recorded later.';

-- Their results have another shape.
drop function if exists trade_statistics_by_setting_version(text, text, text, text, timestamptz, timestamptz);
drop function if exists trade_statistics(text, text, text, timestamptz, timestamptz, text[], integer);
drop type trade_figures;
create type trade_figures as (
    okx_uid               text,
    symbol                text,
    side                  text,
    period                timestamptz,
    version               integer,
    saved_at              timestamptz,
    value                 jsonb,
    currency              text,
    users                 bigint,
    trades                bigint,
    wins                  bigint,
    losses                bigint,
    break_even            bigint,
    win_rate              numeric,
    gross_profit          numeric,
    gross_loss            numeric,
    profit_factor         numeric,
    realized_pnl          numeric,
    fees                  numeric,
    funding_fees          numeric,
    net_pnl               numeric,
    best                  numeric,
    worst                 numeric,
    average               numeric,
    average_win           numeric,
    average_loss          numeric,
    expectancy            numeric,
    expectancy_ratio      numeric,
    longest_win_streak    bigint,
    longest_loss_streak   bigint,
    average_holding       interval,
    min_holding           interval,
    max_holding           interval,
    max_drawdown          numeric,
    max_drawdown_duration interval,
    sharpe                numeric,
    sortino               numeric,
    max_drawdown_percent  numeric,
    cagr_percent          numeric,
    calmar                numeric,
    first_exit            timestamptz,
    last_exit             timestamptz
);

comment on type trade_figures is 'What trade_statistics() tells of a group of trades: the first eight columns say of which (null: of all, but a currency that isn''t known), then the figures.';
comment on column trade_figures.period is 'Begin of the day, week or month (UTC) of the exits.';
comment on column trade_figures.version is 'Of the setting type that was grouped by, in force at entry; saved_at: when it was saved, null if it was pruned.';
comment on column trade_figures.value is 'Of the setting that was grouped by, in the version in force at entry; null if it wasn''t set, or isn''t known any more.';
comment on column trade_figures.currency is 'Of all amounts of the row; null: of trades whose currency isn''t known.';
comment on column trade_figures.users is 'Whose trades these are.';
comment on column trade_figures.wins is 'Trades with a net PnL above 0; losses: below 0; break_even: 0.';
comment on column trade_figures.win_rate is 'Wins of all trades, from 0 to 1.';
comment on column trade_figures.gross_profit is 'Net PnL of the winning trades; gross_loss: of the losing ones, as a positive amount; so is average_loss.';
comment on column trade_figures.profit_factor is 'gross_profit / gross_loss; null without a loss.';
comment on column trade_figures.fees is 'entry_fee + exit_fee; a positive amount was paid.';
comment on column trade_figures.funding_fees is 'As far as they are known; null: of no trade. A positive amount was paid.';
comment on column trade_figures.net_pnl is 'realized_pnl - fees - funding_fees.';
comment on column trade_figures.best is 'Of the net PnL; worst and average, too.';
comment on column trade_figures.expectancy is 'Share of wins x average_win - share of losses x average_loss: what a trade earns on average.';
comment on column trade_figures.expectancy_ratio is 'expectancy / average_loss; null without a loss.';
comment on column trade_figures.longest_win_streak is 'Wins in a row, in the order of exits; longest_loss_streak: losses. A trade that broke even ends both. Of exits at one moment the earlier entry counts first, then the lower OKX UID and exit_order_id.';
comment on column trade_figures.max_drawdown is 'The deepest fall of the summed net PnL, begun at 0, from an earlier high, as a positive amount. Trades closed at one moment are one step.';
comment on column trade_figures.max_drawdown_duration is 'The longest time the summed net PnL was below an earlier high: from the exit that made the high (the first exit, if none did) to the one that reached it again, or to the last.';
comment on column trade_figures.sharpe is 'Mean / sample standard deviation of the net PnL per UTC day, days without a trade between the first and the last exit included, times the root of the days of a year. Null for fewer than two days, or if all are equal.';
comment on column trade_figures.sortino is 'The same mean / the root of the mean square of what the days lost (a day that lost nothing: 0), times the same root. Null for fewer than two days, or without a day of loss.';
comment on column trade_figures.max_drawdown_percent is 'The deepest fall of the capital and the summed net PnL, in percent of their earlier high. Null without a capital, as the next two.';
comment on column trade_figures.cagr_percent is 'What the capital grew a year, in percent: ((capital + net_pnl) / capital) ^ (days of a year / UTC days from the first to the last exit) - 1. Null if nothing of it was left, for fewer than two days, and from 1e30 on.';
comment on column trade_figures.calmar is 'cagr_percent / max_drawdown_percent; null without a drawdown.';
