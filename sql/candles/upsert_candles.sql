-- A ts without an offset is UTC. By the rule of _write_candles(). US012: a confined session reads candles only. Locks the candles.
-- Texts are looked at before PostgreSQL reads them: it would take 0x10 and 1_000 for numbers (from 16 on), now, 24:00 and :60
-- for times, and round 00:00:00.0000001 onto the grid.
create or replace function upsert_candles(p_timeframe text, p_candles jsonb, p_force boolean default false)
returns table (inserted bigint, replaced bigint, unchanged bigint)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
as $$
declare
    v_time    constant text := '^\d{4,6}-\d\d-\d\d([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d{1,6}0*)?)?)?( ?(Z|[+-]\d\d(:?[0-5]\d){0,2}))?$';
    v_candles ohlcv_1m[];
    v_bad     text;
begin
    perform check_confinement(null);
    begin
        select case when c ->> 'ts' !~ v_time then 'ts is not an ISO 8601 time' else 'a number is not in plain digits' end into v_bad
          from jsonb_array_elements(p_candles) c
         where c ->> 'ts' !~ v_time
            or concat_ws(' ', c ->> 'open', c ->> 'high', c ->> 'low', c ->> 'close', c ->> 'volume') ~ '[xXoObB_]'
         limit 1;
        if v_bad is not null then
            raise exception using errcode = 'US010', message = format('not candles: %s', v_bad);
        end if;
        v_candles := array(select c from jsonb_populate_recordset(row(null, null, null, null, null, null, null, true)::ohlcv_1m, p_candles) c);
    exception
        when data_exception then
            raise exception using errcode = 'US010',
                message = 'not candles: a member can''t be read',
                hint = 'A JSON array of objects with ts, symbol, open, high, low, close, volume and complete (true if left out).';
    end;
    return query select * from _write_candles(p_timeframe, v_candles, p_force);
end
$$;

comment on function upsert_candles(text, jsonb, boolean) is
'Saves candles, all or none, and counts them. Numbers are in plain digits, times ISO 8601 to the microsecond. An unfinished candle may be replaced; a finished one only by the same, unless p_force. Example: select * from upsert_candles(''1m'', ''[{"ts": "2026-01-01T00:00Z", "symbol": "BTC-USDT-SWAP", "open": 1, "high": 3, "low": 1, "close": 2, "volume": 10}]''). Raises US005 (a finished candle would change), US010 (unknown timeframe, bad candle), US012.';
select _allow('upsert_candles', 'writer admin');
