-- Candles (OHLCV) of the exchange, a table a timeframe.
-- depends: 0008_trades

create table timeframes (
    timeframe text primary key,
    width     interval not null unique
);

comment on table timeframes is 'The timeframes there are candles of, each in its table ohlcv_<timeframe>; the one place that knows their widths.';

insert into timeframes (timeframe, width)
values ('1m', '1 minute'), ('3m', '3 minutes'), ('5m', '5 minutes'), ('15m', '15 minutes'), ('30m', '30 minutes'),
       ('1h', '1 hour'), ('4h', '4 hours'), ('1d', '1 day');

create table ohlcv_1m (
    ts       timestamptz not null,
    symbol   text collate "C" not null,
    open     numeric not null,
    high     numeric not null,
    low      numeric not null,
    close    numeric not null,
    volume   numeric not null,
    complete boolean not null default true,
    primary key (symbol, ts),
    constraint "high is below open, low or close" check (high >= greatest(open, low, close)),
    constraint "low is above open or close" check (low <= least(open, close)),
    constraint "a price is not above zero and finite" check (low > 0 and high < 'Infinity'),
    constraint "volume is negative or not finite" check (volume >= 0 and volume < 'Infinity'),
    constraint "a symbol has 1-64 printable ASCII characters without spaces" check (length(symbol) between 1 and 64 and symbol !~ '[^!-~]')
);

comment on table ohlcv_1m is 'Candles of one minute. Written through upsert_candles(), rollup_candles() and the import; one that is complete is final.';
comment on column ohlcv_1m.ts is 'When the candle begins.';
comment on column ohlcv_1m.complete is 'Whether the candle is finished; one that is not may be replaced.';

create table ohlcv_3m (like ohlcv_1m including all);
create table ohlcv_5m (like ohlcv_1m including all);
create table ohlcv_15m (like ohlcv_1m including all);
create table ohlcv_30m (like ohlcv_1m including all);
create table ohlcv_1h (like ohlcv_1m including all);
create table ohlcv_4h (like ohlcv_1m including all);
create table ohlcv_1d (like ohlcv_1m including all);

-- Each keeps to its grid, counted in UTC.
do $$
declare
    v_timeframe timeframes;
begin
    for v_timeframe in select * from timeframes f loop
        execute format('alter table %I add constraint "ts is not where a candle of this timeframe begins"'
                       ' check (isfinite(ts) and ts = date_bin(%L, ts, to_timestamp(0)))', 'ohlcv_' || v_timeframe.timeframe, v_timeframe.width);
        if v_timeframe.timeframe <> '1m' then
            execute format('comment on table %I is %L', 'ohlcv_' || v_timeframe.timeframe,
                           format('Candles of %s; as ohlcv_1m.', v_timeframe.timeframe));
        end if;
    end loop;
end
$$;
