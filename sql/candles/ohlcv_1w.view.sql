-- Of the continuous aggregate where arrange_hypertables() has made one, with the same columns and the same rows.
do $$
begin
    if to_regclass('public.ohlcv_1w_aggregate') is not null then
        create or replace view ohlcv_1w as
        select a.ts, a.symbol, a.open, a.high, a.low, a.close, a.volume, a.complete
          from ohlcv_1w_aggregate a;
    else
        create or replace view ohlcv_1w as
        select date_bin('7 days', d.ts, '2000-01-03 00:00Z') as ts, d.symbol,
               (array_agg(d.open order by d.ts))[1] as open, max(d.high) as high, min(d.low) as low,
               (array_agg(d.close order by d.ts desc))[1] as close, sum(d.volume) as volume,
               bool_and(d.complete) and count(*) = 7 as complete
          from ohlcv_1d d
         group by 1, 2;
    end if;
end
$$;

comment on view ohlcv_1w is
'Weekly candles, of the daily ones; a week begins on Monday 00:00 UTC. Complete if its seven days are.';
