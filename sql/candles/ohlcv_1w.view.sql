-- Of a symbol that is asked for, its few daily candles are read. Nothing is kept, so nothing is ever stale.
create or replace view ohlcv_1w as
select date_bin('7 days', d.ts, '2000-01-03 00:00Z') as ts, d.symbol,
       (array_agg(d.open order by d.ts))[1] as open, max(d.high) as high, min(d.low) as low,
       (array_agg(d.close order by d.ts desc))[1] as close, sum(d.volume) as volume,
       bool_and(d.complete) and count(*) = 7 as complete
  from ohlcv_1d d
 group by 1, 2;

comment on view ohlcv_1w is
'Weekly candles, of the daily ones; a week begins on Monday 00:00 UTC. Complete if its seven days are.';
