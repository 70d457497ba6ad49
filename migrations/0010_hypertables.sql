-- How TimescaleDB, where the server has it, keeps trades and candles: arrange_hypertables() brings the tables to it.
-- depends: 0009_candles

create table hypertable_settings (
    table_name     text primary key,
    time_column    name not null,
    chunk_interval interval not null,
    compress_after interval,
    drop_after     interval,
    constraint hypertable_settings_ours check (table_name ~ '^(trades|ohlcv_[0-9]+[mhd])$'),
    constraint hypertable_settings_positive check (least(chunk_interval, compress_after, drop_after) > '0')
);

-- A chunk is to hold some 1,000,000 candles of 100 symbols.
insert into hypertable_settings (table_name, time_column, chunk_interval, compress_after) values
    ('trades',    'exit_time', '30 days',   null),
    ('ohlcv_1m',  'ts',        '7 days',    '30 days'),
    ('ohlcv_3m',  'ts',        '21 days',   '60 days'),
    ('ohlcv_5m',  'ts',        '35 days',   '90 days'),
    ('ohlcv_15m', 'ts',        '105 days',  '180 days'),
    ('ohlcv_30m', 'ts',        '210 days',  '365 days'),
    ('ohlcv_1h',  'ts',        '420 days',  '365 days'),
    ('ohlcv_4h',  'ts',        '1680 days', '365 days'),
    ('ohlcv_1d',  'ts',        '3650 days', '365 days');

comment on table hypertable_settings is 'How TimescaleDB keeps each table, where the server has it. Change a row, then run migrate (or arrange_hypertables()).';
comment on column hypertable_settings.chunk_interval is 'The time one chunk spans; a change is of chunks made from then on.';
comment on column hypertable_settings.compress_after is 'Chunks this old are compressed; null: none from now on. No effect on trades, as TimescaleDB doesn''t compress tables with row-level policies. Needs the Timescale licence.';
comment on column hypertable_settings.drop_after is 'THE DATA of chunks this old are dropped; null: kept for ever. Needs the Timescale licence.';

-- What it told of TimescaleDB, timescaledb_state() tells.
drop function if exists store_statistics();
