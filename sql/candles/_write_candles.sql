-- The rule of writing candles, in one place for upsert_candles(), rollup_candles() and merge_candles():
--
--   A candle that isn't there is inserted. One that isn't complete is replaced by whatever is given. One that is complete
--   is final: the same again is fine, other values raise US005, unless p_force. A given candle that isn't complete never
--   replaces one that is: it is an earlier state of it that came late (from a second bot, say), and is passed over.
--
-- p_candles: null for what was copied into pg_temp.candle_import. All are written, or none; in the order of symbol and ts, so
-- that two writers never deadlock. Where none is there yet (an import into an empty range) a plain insert does it, in half
-- the time of one that looks out for conflicts. Else what changes nothing is left out: a compressed chunk is unpacked for each
-- row that is written, be it the same, and TimescaleDB limits how much of that one statement may ask for, unless it is told not to.
-- Planned without loops and scans of all: see _candle_lookup(). Raises US005, and what _check_candles() raises. Locks the candles.
-- Counts what it found there when it began: what a rival inserts meanwhile and this replaces counts as inserted.
create or replace function _write_candles(p_timeframe text, p_candles ohlcv_1m[], p_force boolean)
returns table (inserted bigint, replaced bigint, unchanged bigint)
language plpgsql
set search_path = pg_catalog, public, pg_temp
set enable_nestloop = off
set enable_seqscan = off
set jit = off
as $$
declare
    v_limit   constant text := 'timescaledb.max_tuples_decompressed_per_dml_transaction';
    v_given   constant text := case when p_candles is null then 'pg_temp.candle_import' else 'unnest($1)' end;
    v_insert  constant text := format('insert into %s as t (ts, symbol, open, high, low, close, volume, complete)', _candle_table(p_timeframe));
    v_columns constant text := 'g.ts, g.symbol, g.open, g.high, g.low, g.close, g.volume, g.complete';
    v_stored  text;
    v_rows    bigint;
    v_each    bigint;     -- given twice is one
    v_new     bigint;     -- not there yet
    v_refused bigint;     -- would change what is final
    v_to_do   bigint;
    v_done    bigint;     -- inserted or replaced
    v_is_free boolean;    -- nothing is there
begin
    perform set_config(v_limit, '0', true) where current_setting(v_limit, true) is not null;
    begin
        select l.given, l.stored into v_rows, v_stored from _candle_lookup(p_timeframe, p_candles) l;
        execute format('select not exists (%s)', v_stored) into v_is_free;
        if v_is_free then
            begin
                execute format('%s select distinct on (symbol, ts) %s from %s g order by symbol, ts', v_insert, v_columns, v_given)
                  using p_candles;
                get diagnostics v_done = row_count;
                select v_done, v_done, v_done, 0 into v_each, v_new, v_to_do, v_refused;
            exception
                when unique_violation then    -- a rival's
                    v_is_free := false;
            end;
        end if;
        if not v_is_free then
            execute format(
                'with looked as materialized ('
                ' select distinct on (g.symbol, g.ts) %1$s, t.ts is null as is_new,'
                ' t.ts is null or (t.open, t.high, t.low, t.close, t.volume, t.complete) is distinct from'
                ' (g.open, g.high, g.low, g.close, g.volume, g.complete) and not (t.complete and not (g.complete and $2)) as is_written,'
                ' t.complete and g.complete and not $2 and (t.open, t.high, t.low, t.close, t.volume) is distinct from'
                ' (g.open, g.high, g.low, g.close, g.volume) as is_refused'
                ' from %2$s g left join (%3$s) t on t.symbol = g.symbol and t.ts = g.ts order by g.symbol, g.ts'
                '), written as ('
                ' %4$s select %1$s from looked g where g.is_written'
                ' on conflict (symbol, ts) do update'
                ' set open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,'
                ' volume = excluded.volume, complete = excluded.complete'
                ' where (t.open, t.high, t.low, t.close, t.volume, t.complete) is distinct from'
                ' (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.complete)'
                ' and (not t.complete or $2 and excluded.complete) returning 1)'
                ' select count(*), count(*) filter (where is_new), count(*) filter (where is_refused), count(*) filter (where is_written),'
                ' (select count(*) from written) from looked', v_columns, v_given, v_stored, v_insert)
               into v_each, v_new, v_refused, v_to_do, v_done using p_candles, p_force;
        end if;
    exception
        when check_violation or not_null_violation or datetime_field_overflow then    -- a hypertable looks for -infinity's chunk first
            perform _check_candles(p_timeframe, p_candles);
            raise;
    end;
    if v_each < v_rows or v_refused > 0 or v_done < v_to_do then
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
