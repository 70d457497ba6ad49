-- The table of a timeframe's candles, qualified, as dynamic SQL may name it: ohlcv_<timeframe> in the store's schema, made by
-- the store's owner. A row of timeframes alone opens nothing: what else bears the name (a view in pg_temp, somebody's own
-- in public) would run as whoever owns the function that reads it. p_is_read: 1w, a view of the daily ones, is one, too.
-- Raises US010 for a timeframe there isn't. No lock.
create or replace function _candle_table(p_timeframe text, p_is_read boolean default false)
returns text
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if not exists (select from pg_class c
                     join pg_class o on o.oid = 'public.timeframes'::regclass and o.relowner = c.relowner
                     left join timeframes f on f.timeframe = p_timeframe
                    where c.relname = 'ohlcv_' || p_timeframe and c.relnamespace = 'public'::regnamespace
                      and (f.timeframe is not null and c.relkind in ('r', 'p')
                           or p_is_read and p_timeframe = '1w' and c.relkind = 'v')) then
        perform _timeframe_width(p_timeframe);    -- raises, if it isn't known at all
        raise exception using errcode = 'US010',
            message = 'no candles are kept of this timeframe',
            detail = 'the store''s owner has made no table for it',
            hint = 'A timeframe comes by a migration: a row of timeframes, and the table ohlcv_<timeframe>.';
    end if;
    return format('public.%I', 'ohlcv_' || p_timeframe);
end
$$;

comment on function _candle_table(text, boolean) is
'The qualified name of the table of a timeframe, which the store''s owner has made; p_is_read: or the view of 1w. Raises US010 (unknown timeframe, no such table).';
select _allow('_candle_table', 'admin');
