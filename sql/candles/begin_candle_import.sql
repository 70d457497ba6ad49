-- The table is to be filled by COPY in this same transaction. It is the owner's, so that nobody can put a trigger on it that
-- would run with the owner's rights, and goes with the transaction. Times without an offset are UTC until then.
create or replace function begin_candle_import(p_timeframe text, p_symbol text default null)
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform check_confinement(null);
    if to_regclass('pg_temp.candle_import') is not null then
        raise exception using errcode = 'US010',
            message = 'there is a temporary table candle_import already',
            hint = 'An import is begun once a transaction.';
    end if;
    execute format('create temporary table candle_import (like %s including defaults) on commit drop', _candle_table(p_timeframe));
    execute format('alter table pg_temp.candle_import alter column symbol set default %L', p_symbol);
    grant insert on pg_temp.candle_import to public;    -- it is this session's alone
    perform set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, YMD', true);
end
$$;

comment on function begin_candle_import(text, text) is
'Makes the temporary table candle_import for a bulk import: begin; select begin_candle_import(''1m''); copy pg_temp.candle_import from …; select * from merge_candles(''1m''); commit. Its columns: ts, symbol (default: p_symbol), open, high, low, close, volume, complete (default true); name those that a file has: \copy pg_temp.candle_import (ts, open, high, low, close, volume) from ''btc.csv'' csv header. COPY reads numbers and times as PostgreSQL does (0x10, 24:00). Raises US010 (unknown timeframe), US012.';
select _allow('begin_candle_import', 'writer admin');
