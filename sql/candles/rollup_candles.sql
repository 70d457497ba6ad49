-- Open of the first, close of the last, highest, lowest, sum of the volumes. Gaps stay gaps: where there is no finer candle,
-- none is made. p_from, p_to (exclusive; null: no limit): every candle that the range touches is made of all its parts.
-- By the rule of _write_candles(). Locks the coarser candles.
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
    v_width   interval := _timeframe_width(p_to_timeframe);
    v_parts   numeric := extract(epoch from v_width) / extract(epoch from _timeframe_width(p_from_timeframe));
    v_candles ohlcv_1m[];
begin
    perform check_confinement(null);
    if v_parts <= 1 or v_parts <> trunc(v_parts) then
        raise exception using errcode = 'US010',
            message = format('%s can''t be made of %s', p_to_timeframe, p_from_timeframe),
            hint = 'The coarser timeframe is a multiple of the finer one.';
    end if;
    execute format(
        'select array_agg(c) from ('
        'select row(date_bin($2, ts, to_timestamp(0)), symbol, (array_agg(open order by ts))[1], max(high), min(low),'
        ' (array_agg(close order by ts desc))[1], sum(volume), count(*) = $3 and bool_and(complete))::ohlcv_1m as c from %s'
        ' where symbol = coalesce($1, symbol) and ts >= coalesce(date_bin($2, $4, to_timestamp(0)), ''-infinity'')'
        ' and ts < coalesce(date_bin($2, $5 - interval ''1 microsecond'', to_timestamp(0)) + $2, ''infinity'')'
        ' group by symbol, date_bin($2, ts, to_timestamp(0))) b', _candle_table(p_from_timeframe))
       into v_candles using p_symbol, v_width, v_parts, p_from, p_to;
    return query select * from _write_candles(p_to_timeframe, coalesce(v_candles, '{}'), p_force);
end
$$;

comment on function rollup_candles(text, text, text, timestamptz, timestamptz, boolean) is
'Makes candles of a coarser timeframe of those of a finer one, all or none, and counts them; a candle of which a part is missing or unfinished is unfinished. p_symbol: null for all. Example: select * from rollup_candles(''BTC-USDT-SWAP'', ''1m'', ''1h''). Raises US005 (a finished candle would change), US010 (timeframes that don''t fit), US012.';
select _allow('rollup_candles', 'writer admin');
