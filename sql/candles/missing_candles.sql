-- Reads the primary key once, no lock.
create or replace function missing_candles(
    p_symbol    text,
    p_timeframe text,
    p_from      timestamptz default null,
    p_to        timestamptz default null
)
returns table (from_ts timestamptz, to_ts timestamptz, missing bigint)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_width interval := _timeframe_width(p_timeframe);
    v_from  timestamptz;    -- both on the grid
    v_to    timestamptz;
begin
    if not isfinite(p_from) or not isfinite(p_to) then
        raise exception using errcode = 'US010',
            message = 'not a range of candles',
            detail = 'p_from and p_to must be finite';
    end if;
    v_from := date_bin(v_width, p_from - interval '1 microsecond', to_timestamp(0)) + v_width;
    v_to := date_bin(v_width, p_to - interval '1 microsecond', to_timestamp(0)) + v_width;
    -- A candle before the first and one after the last one asked for, as if they were there.
    return query execute format(
        'select g.ts + $2, g.next, (extract(epoch from g.next - g.ts) / extract(epoch from $2))::bigint - 1'
        '  from (select c.ts, lead(c.ts, 1, $4) over (order by c.ts) as next'
        '          from (select ts from %s where symbol = $1'
        '                   and ts >= coalesce($3, ''-infinity'') and ts < coalesce($4, ''infinity'')'
        '                union all select $3 - $2 where $3 is not null) c) g'
        ' where g.next > g.ts + $2 order by g.ts', _candle_table(p_timeframe)) using p_symbol, v_width, v_from, v_to;
end
$$;

comment on function missing_candles(text, text, timestamptz, timestamptz) is
'The gaps in the candles of a symbol: from_ts is the first that is missing, to_ts the end. p_from, p_to (exclusive): where to look, by default from the first candle to the last. Example: select * from missing_candles(''BTC-USDT-SWAP'', ''1m''). Raises US010 (unknown timeframe, infinite range).';
select _allow('missing_candles', 'reader writer admin');
