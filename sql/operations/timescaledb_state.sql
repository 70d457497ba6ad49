-- Reads only.
create or replace function timescaledb_state()
returns table (version text, licence text, hypertables bigint, tables bigint, skipped text[])
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    select e.extversion into version from pg_extension e where e.extname = 'timescaledb';
    if found then
        licence := current_setting('timescaledb.license', true);
        skipped := case when licence = 'timescale' then '{}' else array['compression', 'retention', 'continuous aggregates'] end;
        select count(h.hypertable_name), count(*) into hypertables, tables
          from hypertable_settings s
          left join timescaledb_information.hypertables h on h.hypertable_schema = 'public' and h.hypertable_name = s.table_name;
        return next;
    end if;
end
$$;

comment on function timescaledb_state() is
'TimescaleDB''s version and licence, how many of our tables are hypertables, what is skipped for want of a licence; no row where it isn''t installed.';
select _allow('timescaledb_state', 'reader writer relay admin');
