-- Each constraint of the table is named after what it finds. p_candles: as in _write_candles(); what was imported is named by
-- its line (the first is the header). No lock.
create or replace function _check_candles(p_timeframe text, p_candles ohlcv_1m[])
returns void
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_table   text := _candle_table(p_timeframe);
    v_given   text := case when p_candles is null
        then '(select *, format(''line %s: '', row_number() over (order by ctid) + 1) as place from pg_temp.candle_import)'
        else '(select *, '''' as place from unnest($1))' end;
    v_checks  text;
    v_problem text;
    v_where   text;
    v_count   bigint;
begin
    select string_agg(format('when not (%s) then %L', pg_get_expr(c.conbin, c.conrelid), c.conname), ' ' order by c.conname)
      into v_checks
      from pg_constraint c where c.conrelid = v_table::regclass and c.contype = 'c';
    execute format(
        'select g.place || g.problem, concat_ws('' '', left(g.symbol, 64), g.ts) from (select g.*, case'
        ' when num_nulls(ts, symbol, open, high, low, close, volume, complete) > 0 then ''a value is missing'' %s end as problem from %s g) g'
        ' where g.problem is not null limit 1', v_checks, v_given) into v_problem, v_where using p_candles;
    if v_problem is null then
        execute format(
            'select min(g.place) || ''a candle is given twice, with different values'', concat_ws('' '', g.symbol, g.ts) from %s g'
            ' group by g.symbol, g.ts'
            ' having count(distinct (g.open, g.high, g.low, g.close, g.volume, g.complete)) > 1 order by g.symbol, g.ts limit 1', v_given)
           into v_problem, v_where using p_candles;
    end if;
    if v_problem is not null then
        raise exception using errcode = 'US010', message = v_problem, detail = v_where;
    end if;

    execute format(
        'select min(g.place || concat_ws('' '', g.symbol, g.ts)), count(*) from %s g join (%s) t using (symbol, ts)'
        ' where t.complete and g.complete and (t.open, t.high, t.low, t.close, t.volume) is distinct from'
        ' (g.open, g.high, g.low, g.close, g.volume)', v_given, (select l.stored from _candle_lookup(p_timeframe, p_candles) l))
       into v_where, v_count using p_candles;
    if v_count > 0 then
        raise exception using errcode = 'US005',
            message = 'a finished candle would change',
            detail = v_where || case when v_count > 1 then format(', and %s more', v_count - 1) else '' end,
            hint = 'If the new values are the right ones, force it: p_force, --force.';
    end if;
end
$$;

comment on function _check_candles(text, ohlcv_1m[]) is
'Raises what is wrong with candles that could not be written: US010 (bad values, given twice) or US005 (a finished candle would change); nothing if all is well.';
select _allow('_check_candles', 'admin');
