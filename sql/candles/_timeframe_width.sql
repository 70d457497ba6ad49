-- Its table is named by _candle_table(). No lock.
create or replace function _timeframe_width(p_timeframe text)
returns interval
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_width interval := (select f.width from timeframes f where f.timeframe = p_timeframe);
begin
    if v_width is null then
        raise exception using errcode = 'US010',
            message = 'unknown timeframe',
            detail = (select format('known: %s', string_agg(f.timeframe, ', ' order by f.width)) from timeframes f);
    end if;
    return v_width;
end
$$;

comment on function _timeframe_width(text) is
'How long a candle of a timeframe is: 1m, 3m, 5m, 15m, 30m, 1h, 4h or 1d. Raises US010 (unknown timeframe).';
select _allow('_timeframe_width', 'admin');
