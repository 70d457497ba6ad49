-- The rule of writing candles, in one place for upsert_candles(), rollup_candles() and merge_candles():
--
--   A candle that isn't there is inserted. One that isn't complete is replaced by whatever is given. One that is complete
--   is final: the same again is fine, other values raise US005, unless p_force. A given candle that isn't complete never
--   replaces one that is: it is an earlier state of it that came late (from a second bot, say), and is passed over.
--
-- p_candles: null for what was copied into pg_temp.candle_import. All are written, or none; in the order of symbol and ts, so
-- that two writers never deadlock. Where none is there yet (an import into an empty range) a plain insert does it, in half
-- the time of one that looks out for conflicts. Raises US005, and what _check_candles() raises. Locks the candles.
-- Counts what it found there when it began: what a rival inserts meanwhile and this replaces counts as inserted.
create or replace function _write_candles(p_timeframe text, p_candles ohlcv_1m[], p_force boolean)
returns table (inserted bigint, replaced bigint, unchanged bigint)
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_table  text := _candle_table(p_timeframe);
    v_given  text := case when p_candles is null then 'pg_temp.candle_import' else 'unnest($1)' end;
    v_insert text := format(
        'insert into %s as t (ts, symbol, open, high, low, close, volume, complete)'
        ' select distinct on (symbol, ts) ts, symbol, open, high, low, close, volume, complete from %s order by symbol, ts',
        v_table, v_given);
    v_rows   bigint;
    v_new    bigint;    -- candles that are not there yet
    v_done   bigint;    -- inserted or replaced
begin
    execute format('select count(*), case when not exists (select from %s g join %s t using (symbol, ts)) then count(*) end from %s',
                   v_given, v_table, v_given) into v_rows, v_new using p_candles;
    begin
        if v_new is not null then
            begin
                execute v_insert using p_candles;
                get diagnostics v_done = row_count;
                v_new := v_done;
            exception
                when unique_violation then    -- a rival's
                    v_new := null;
            end;
        end if;
        if v_new is null then
            execute format('select count(*) from (select distinct symbol, ts from %s) g'
                           ' where not exists (select from %s t where (t.symbol, t.ts) = (g.symbol, g.ts))', v_given, v_table)
               into v_new using p_candles;
            execute v_insert || ' on conflict (symbol, ts) do update'
                ' set open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,'
                ' volume = excluded.volume, complete = excluded.complete'
                ' where (t.open, t.high, t.low, t.close, t.volume, t.complete) is distinct from'
                ' (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.complete)'
                ' and (not t.complete or $2 and excluded.complete)' using p_candles, p_force;
            get diagnostics v_done = row_count;
        end if;
    exception
        when check_violation or not_null_violation or datetime_field_overflow then    -- a hypertable looks for -infinity's chunk first
            perform _check_candles(p_timeframe, p_candles);
            raise;
    end;
    if v_done < v_rows then
        perform _check_candles(p_timeframe, p_candles);
    end if;
    inserted := least(v_new, v_done);
    replaced := v_done - inserted;
    unchanged := v_rows - v_done;
    return next;
end
$$;

comment on function _write_candles(text, ohlcv_1m[], boolean) is
'The rule of writing candles, for the functions that do it; null candles: those copied into pg_temp.candle_import. Raises US005 (a finished candle would change), US010 (unknown timeframe, bad candle).';
select _allow('_write_candles', 'admin');
