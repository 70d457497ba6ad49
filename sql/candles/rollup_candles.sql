-- Open of the first, close of the last, highest, lowest, sum of the volumes. Gaps stay gaps: where there is no finer candle,
-- none is made. p_from, p_to (exclusive; null: no limit): every candle that the range touches is made of all its parts.
-- The finer ones are counted first, then read and written some 50,000 at a time, in the order of symbol and ts, as two writers
-- mustn't deadlock: the memory it takes doesn't grow with them. By the rule of _write_candles(). Locks the coarser candles.
create or replace function rollup_candles(
    p_symbol         text,
    p_from_timeframe text,
    p_to_timeframe   text,
    p_from           timestamptz default null,
    p_to             timestamptz default null,
    p_force          boolean default false
)
returns table (inserted bigint, replaced bigint, unchanged bigint)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_width   constant interval := _timeframe_width(p_to_timeframe);
    v_parts   constant numeric := extract(epoch from v_width) / extract(epoch from _timeframe_width(p_from_timeframe));
    v_finer   constant text := _candle_table(p_from_timeframe);
    v_from    constant timestamptz := coalesce(date_bin(v_width, p_from, to_timestamp(0)), '-infinity');
    v_to      constant timestamptz := coalesce(date_bin(v_width, p_to - interval '1 microsecond', to_timestamp(0)) + v_width, 'infinity');
    -- As a constant: PostgreSQL before 18 plans a loop's query without knowing its parameters.
    v_symbol  constant text := case when p_symbol is null then 'true' else format('symbol = %L', p_symbol) end;
    v_period  interval;    -- of some 10,000 finer candles
    v_batch   record;
    v_candles ohlcv_1m[];
begin
    perform check_confinement(null);
    if v_parts <= 1 or v_parts <> trunc(v_parts) then
        raise exception using errcode = 'US010',
            message = format('%s can''t be made of %s', p_to_timeframe, p_from_timeframe),
            hint = 'The coarser timeframe is a multiple of the finer one.';
    end if;
    v_period := v_width * ceil(10000 / v_parts);
    select 0, 0, 0 into inserted, replaced, unchanged;
    for v_batch in execute format(
        'with period as ('
        ' select symbol, date_bin($1, ts, to_timestamp(0)) as start, count(*) as candles from %s'
        ' where %s and ts >= $2 and ts < $3 group by 1, 2'
        '), numbered as ('
        ' select p.*, div(sum(candles) over (order by symbol, start) - 1, 50000) as batch from period p)'
        ' select min(symbol) as symbol, (array_agg(start order by symbol, start))[1] as start,'
        ' max(symbol) as last_symbol, (array_agg(start order by symbol desc, start desc))[1] as last_start,'
        ' greatest(min(start), $2) as first, least(max(start) + $1, $3) as stop'
        ' from numbered group by batch order by batch', v_finer, v_symbol) using v_period, v_from, v_to
    loop
        execute format(
            'select array_agg(c) from ('
            'select row(date_bin($1, ts, to_timestamp(0)), symbol, (array_agg(open order by ts))[1], max(high), min(low),'
            ' (array_agg(close order by ts desc))[1], sum(volume), count(*) = $2 and bool_and(complete))::ohlcv_1m as c from %s'
            ' where symbol between $3 and $5 and ts >= $7 and ts < $8 and (symbol, ts) >= ($3, $4) and (symbol, ts) < ($5, $6)'
            ' group by symbol, date_bin($1, ts, to_timestamp(0))) b', v_finer)
           into v_candles using v_width, v_parts, v_batch.symbol, v_batch.start, v_batch.last_symbol, v_batch.last_start + v_period,
                                v_batch.first, v_batch.stop;
        select inserted + w.i, replaced + w.r, unchanged + w.u into inserted, replaced, unchanged
          from _write_candles(p_to_timeframe, coalesce(v_candles, '{}'), p_force) w (i, r, u);
    end loop;
    return next;
end
$$;

comment on function rollup_candles(text, text, text, timestamptz, timestamptz, boolean) is
'Makes candles of a coarser timeframe of those of a finer one, all or none, and counts them; a candle of which a part is missing or unfinished is unfinished. p_symbol: null for all. Example: select * from rollup_candles(''BTC-USDT-SWAP'', ''1m'', ''1h''). Raises US005 (a finished candle would change), US010 (timeframes that don''t fit), US012.';
select _allow('rollup_candles', 'writer admin');
