-- What runs by itself goes with its settings; hypertables stay what they are.
do $$
declare
    v_job record;
begin
    if exists (select from pg_extension where extname = 'timescaledb') then
        for v_job in
            select format('select %I.delete_job(%s)', n.nspname, j.job_id) as deletion
              from timescaledb_information.jobs j, pg_extension e join pg_namespace n on n.oid = e.extnamespace
             where e.extname = 'timescaledb' and j.proc_name in ('policy_compression', 'policy_retention')
               and j.hypertable_schema = 'public' and j.hypertable_name in (select table_name from hypertable_settings)
        loop
            execute v_job.deletion;
        end loop;
    end if;
end
$$;
drop materialized view if exists ohlcv_1w_aggregate;    -- where arrange_hypertables() made it
drop table hypertable_settings;
