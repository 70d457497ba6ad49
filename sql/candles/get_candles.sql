-- Candles are of no user: a confined session reads them, too. Reads by the primary key, no lock.
create or replace function get_candles(
    p_symbol    text,
    p_timeframe text,
    p_from      timestamptz default null,
    p_to        timestamptz default null,
    p_after     timestamptz default null,
    p_limit     integer default null
)
returns setof ohlcv_1m
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    return query execute format(
        'select ts, symbol, open, high, low, close, volume, complete from %s where symbol = $1'
        ' and ts >= coalesce($2, ''-infinity'') and ts < coalesce($3, ''infinity'') and ts > coalesce($4, ''-infinity'')'
        ' order by ts limit $5', _candle_table(p_timeframe, true)) using p_symbol, p_from, p_to, p_after, p_limit;
end
$$;

comment on function get_candles(text, text, timestamptz, timestamptz, timestamptz, integer) is
'The candles of a symbol by time. p_from: the first; p_to: before that; p_after: the last ts of the page before; p_limit: rows at most (null: all). Example: select * from get_candles(''BTC-USDT-SWAP'', ''5m'', ''2026-01-01Z'', p_limit => 100). p_timeframe 1w: weeks, made of 1d. Raises US010 (unknown timeframe).';
select _allow('get_candles', 'reader writer admin');
