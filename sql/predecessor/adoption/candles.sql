-- The candles set aside that are candles of their timeframe, as the constraints of the store's table have it; of several of one
-- time, a complete one. Their time may be called otherwise, and whether they are complete be unknown: then they are.
do $$
declare
    v_table    text;
    v_columns  name[];
    v_time     text;
    v_complete text;
    v_check    text;
begin
    for v_table in
        select c.relname from pg_class c
          join timeframes f on c.relname = 'ohlcv_' || f.timeframe
         where c.relnamespace = 'predecessor'::regnamespace
    loop
        v_columns := array(select a.attname from pg_attribute a
                            where a.attrelid = format('predecessor.%I', v_table)::regclass and a.attnum > 0 and not a.attisdropped);
        v_time := (select n from unnest(array['ts', 'time', 'timestamp']) n where n = any (v_columns) limit 1);
        v_complete := coalesce((select format('coalesce(o.%I::boolean, true)', n) from unnest(array['complete', 'is_complete']) n
                                 where n = any (v_columns) limit 1), 'true');
        if v_time is null or not v_columns @> array['symbol', 'open', 'high', 'low', 'close', 'volume']::name[] then
            insert into predecessor.quarantine values (v_table, null, false, 'its columns aren''t those of candles: it was set aside as it is');
            continue;
        end if;
        select string_agg(pg_get_expr(c.conbin, c.conrelid), ' and ') into v_check
          from pg_constraint c where c.conrelid = format('public.%I', v_table)::regclass and c.contype = 'c';
        execute format('create temporary table found_candles on commit drop as
                        select o.%I::timestamptz as ts, o.symbol::text collate "C" as symbol, o.open::numeric, o.high::numeric, o.low::numeric,
                               o.close::numeric, o.volume::numeric, %s as complete, to_jsonb(o) as row_data
                          from predecessor.%I o', v_time, v_complete, v_table);
        execute format('insert into public.%I select distinct on (symbol, ts) ts, symbol, open, high, low, close, volume, complete
                          from found_candles where %s and num_nulls(ts, symbol, open, high, low, close, volume) = 0
                         order by symbol, ts, complete desc', v_table, v_check);
        execute format('insert into predecessor.quarantine
                        select %1$L, concat_ws('' '', f.symbol, f.ts), false, ''not a candle of its timeframe, or a second one of its time'', f.row_data
                          from found_candles f
                         where not exists (select from public.%1$I p
                                            where p.symbol = f.symbol and p.ts = f.ts
                                              and (p.open, p.high, p.low, p.close, p.volume) = (f.open, f.high, f.low, f.close, f.volume))', v_table);
        drop table found_candles;
    end loop;
end
$$;
