-- arrange_hypertables() or `migrate` brings the table to it. p_drop_after: THE DATA of chunks this old are dropped. Locks the row.
create or replace function save_hypertable_settings(
    p_table_name     text,
    p_chunk_interval interval,
    p_compress_after interval default null,
    p_drop_after     interval default null
)
returns hypertable_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row hypertable_settings;
begin
    update hypertable_settings s
       set chunk_interval = p_chunk_interval, compress_after = p_compress_after, drop_after = p_drop_after
     where s.table_name = p_table_name
    returning s.* into v_row;
    if not found then
        raise exception using errcode = 'US010', message = 'not a table of hypertable_settings',
            detail = (select 'known: ' || string_agg(s.table_name, ', ' order by s.table_name) from hypertable_settings s);
    end if;
    return v_row;
exception
    when check_violation or not_null_violation then
        raise exception using errcode = 'US010', message = 'not a length of time: it must be above zero';
end
$$;

comment on function save_hypertable_settings(text, interval, interval, interval) is
'Says how TimescaleDB is to keep a table: the length of its chunks, when they are compressed, when DROPPED (null: never). Example: select save_hypertable_settings(''ohlcv_1m'', ''7 days'', ''30 days''). Raises US010.';
select _allow('save_hypertable_settings', 'admin');
