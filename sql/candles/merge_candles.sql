-- By the rule of _write_candles(). A candle that can't be taken is named by its line; the first line is the header.
-- Drops the temporary table. Locks the candles.
create or replace function merge_candles(p_timeframe text, p_force boolean default false)
returns table (inserted bigint, replaced bigint, unchanged bigint)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform check_confinement(null);
    -- Made by begin_candle_import(), and by nobody else: a view of the caller's would be read with the owner's rights.
    if not exists (select from pg_class c join pg_roles r on r.oid = c.relowner
                    where c.oid = to_regclass('pg_temp.candle_import') and c.relkind = 'r' and r.rolname = current_user) then
        raise exception using errcode = 'US010',
            message = 'no import of candles was begun in this transaction',
            hint = 'Call begin_candle_import() first.';
    end if;
    return query select * from _write_candles(p_timeframe, null, p_force);
    drop table pg_temp.candle_import;
end
$$;

comment on function merge_candles(text, boolean) is
'Writes the candles of an import that begin_candle_import() began, all or none, and counts them. Raises US005 (a finished candle would change), US010 (bad candle, by line), US012.';
select _allow('merge_candles', 'writer admin');
