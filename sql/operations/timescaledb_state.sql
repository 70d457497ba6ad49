-- Jobs below 1000 are TimescaleDB's own, as the one that calls home, and may fail where there is no way out. Reads only.
create or replace function timescaledb_state()
returns table (version text, licence text, hypertables bigint, tables bigint, skipped text[], failed_jobs text[], unreadable_chunks bigint)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    select e.extversion into version from pg_extension e where e.extname = 'timescaledb';
    if not found then
        return;
    end if;
    licence := current_setting('timescaledb.license', true);
    skipped := case when licence = 'timescale' then '{}' else array['compression', 'retention'] end;
    select count(h.hypertable_name), count(*) into hypertables, tables
      from hypertable_settings s
      left join timescaledb_information.hypertables h on h.hypertable_schema = 'public' and h.hypertable_name = s.table_name;
    failed_jobs := array(select concat_ws(' of ', j.proc_name, s.hypertable_name) || format(' (job %s)', s.job_id)
                           from timescaledb_information.job_stats s
                           join timescaledb_information.jobs j on j.job_id = s.job_id
                          where s.last_run_status = 'Failed' and s.job_id >= 1000
                          order by s.job_id);
    unreadable_chunks := case when licence = 'timescale' then 0 else (
        select count(*)
          from timescaledb_information.chunks c
          join hypertable_settings s on c.hypertable_schema = 'public' and c.hypertable_name = s.table_name
         where c.is_compressed) end;
    return next;
end
$$;

comment on function timescaledb_state() is
'TimescaleDB''s version and licence, how many of our tables are hypertables, what is skipped for want of a licence, which jobs failed when they last ran, and how many compressed chunks the licence keeps from being read: their rows are missing from every answer. No row where it isn''t installed.';
select _allow('timescaledb_state', 'reader writer relay admin');
