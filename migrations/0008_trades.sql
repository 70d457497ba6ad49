-- Closed trades, the exchange orders that make them unique, and the shape of their statistics.
-- depends: 0007_credentials

create table trades (
    id                   uuid not null default gen_random_uuid(),
    user_id              uuid not null references app_users,
    okx_uid              text not null,
    symbol               text not null,
    side                 text not null,
    is_hedge             boolean not null default false,
    entry_time           timestamptz not null,
    entry_price          numeric not null,
    entry_size           numeric not null,
    exit_time            timestamptz not null,
    exit_price           numeric not null,
    exit_size            numeric not null,
    entry_fee            numeric not null default 0,
    exit_fee             numeric not null default 0,
    realized_pnl         numeric not null,
    net_pnl              numeric not null generated always as (realized_pnl - entry_fee - exit_fee) stored,
    realized_pnl_percent numeric,
    leverage             numeric,
    close_type           text,
    dca_count            integer not null default 0,
    entry_order_id       text,
    exit_order_id        text not null,
    params_version       integer,
    dual_side_version    integer,
    extra                jsonb not null default '{}',
    created_at           timestamptz not null default now(),
    primary key (id, exit_time),    -- a hypertable can't have one without exit_time; see trade_orders
    constraint trades_symbol check (symbol ~ '^[^[:space:][:cntrl:]]{1,64}$'),
    constraint trades_side check (side in ('long', 'short')),
    constraint trades_times check (entry_time >= '1969-12-31 00:00Z' and exit_time >= entry_time and exit_time < '3000-01-02 00:00Z'),
    constraint trades_prices check (entry_price > 0 and entry_price < 1e30 and exit_price > 0 and exit_price < 1e30),
    constraint trades_sizes check (entry_size > 0 and entry_size < 1e30 and exit_size > 0 and exit_size < 1e30),
    constraint trades_fees check (abs(entry_fee) < 1e30 and abs(exit_fee) < 1e30),    -- NaN is above every number
    constraint trades_pnl check (abs(realized_pnl) < 1e30 and abs(realized_pnl_percent) < 1e30),
    constraint trades_leverage check (leverage > 0 and leverage < 1e30),
    constraint trades_close_type check (close_type ~ '^[a-z0-9_]{1,30}$'),
    constraint trades_dca_count check (dca_count >= 0),
    constraint trades_orders check (exit_order_id ~ '^[^[:space:][:cntrl:]]{1,100}$' and entry_order_id ~ '^[^[:space:][:cntrl:]]{1,100}$'),
    constraint trades_versions check (params_version > 0 and dual_side_version > 0),
    constraint trades_extra check (jsonb_typeof(extra) = 'object')
);

create index idx_trades_user_exit on trades (user_id, exit_time desc, id);
create index idx_trades_user_symbol_exit on trades (user_id, symbol, exit_time desc);
create index idx_trades_exit_time on trades using brin (exit_time);    -- of all users; a btree would lure pages of one user

create table trade_orders (
    user_id       uuid not null references app_users,
    exit_order_id text not null,
    trade_id      uuid not null,
    exit_time     timestamptz not null,
    primary key (user_id, exit_order_id)
);

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

comment on table trades is 'One row per closed trade, as the exchange reported it. Written by record_trade() and record_trades(); a recorded trade never changes.';
comment on column trades.entry_fee is 'What was paid; a rebate is negative. So is exit_fee.';
comment on column trades.realized_pnl is 'Before fees.';
comment on column trades.net_pnl is 'After both fees.';
comment on column trades.params_version is 'The version of the user''s params in force at entry_time, null if there was none or it isn''t known any more.';
comment on column trades.dual_side_version is 'The same of dual_side.';
comment on column trades.extra is 'Whatever else is known of the trade.';
comment on table trade_orders is 'Which order of the exchange closed which trade: one trade per user and exit_order_id, whoever records it how often. Stays when old chunks of trades are dropped.';
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

-- It tells of trades now: its result has another shape.
drop function if exists erase_user(text);
