-- TimescaleDB leaves out the chunks that can't hold what is looked for only where the query says so by constants, and a compressed
-- one is unpacked anew for each row that is joined by a loop. So the symbols and times are written out, in at most 20 ranges of
-- time: candles of two years apart don't have all between them read. The caller joins once, and not by a loop.
-- p_candles: as in _write_candles(). The two may be called with bad candles: where a time is missing, nothing is found. No lock.
create or replace function _candle_lookup(p_timeframe text, p_candles ohlcv_1m[], out given bigint, out stored text)
language plpgsql
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
as $$
begin
    execute format(
        'with found as (select symbol, date_bin($2, ts, to_timestamp(0)) as period, count(*) as candles, min(ts) as first, max(ts) as last'
        ' from %1$s g group by 1, 2),'
        ' span as (select ntile(20) over (order by period) as span, period from found group by period),'
        ' part as (select span, array_agg(distinct symbol) as symbols, min(first) as first, max(last) as last'
        ' from found join span using (period) group by span)'
        ' select coalesce((select sum(candles) from found), 0), coalesce(string_agg(format('
        '''select * from %2$s where symbol = any (%%L) and ts between %%L and %%L'', symbols, first, last), '' union all ''),'
        ' ''select * from %2$s where false'') from part',
        case when p_candles is null then 'pg_temp.candle_import' else 'unnest($1)' end, _candle_table(p_timeframe))
       into given, stored using p_candles, _timeframe_width(p_timeframe) * 10000;
end
$$;

comment on function _candle_lookup(text, ohlcv_1m[]) is
'How many candles are given (null: copied into pg_temp.candle_import), and a query, bounded by constants, for what may be stored of their symbols and times.';
select _allow('_candle_lookup', 'admin');
