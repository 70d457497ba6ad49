-- Rows that are there move into chunks, the table locked meanwhile. With the licence: compression and retention. Idempotent; what
-- is so already is not touched. Locks hypertable_settings, so that two at once go one after the other.
create or replace function arrange_hypertables()
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_schema constant text := (select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace
                                where e.extname = 'timescaledb');
    v_has_policies constant boolean := current_setting('timescaledb.license', true) is not distinct from 'timescale';
    v_table record;
begin
    if v_schema is null then
        return;
    end if;
    lock table hypertable_settings in share row exclusive mode;
    for v_table in
        select c.oid::regclass as name, s.time_column, s.chunk_interval, c.relrowsecurity as is_confined,
               h.hypertable_name is not null as is_hypertable, d.time_interval, coalesce(h.compression_enabled, false) as is_compressed,
               s.compress_after, (p.config ->> 'compress_after')::interval as compresses_after,
               s.drop_after, (r.config ->> 'drop_after')::interval as drops_after
          from hypertable_settings s
          join pg_class o on o.oid = 'public.hypertable_settings'::regclass
          join pg_class c on c.relname = s.table_name and c.relnamespace = 'public'::regnamespace and c.relowner = o.relowner
          left join timescaledb_information.hypertables h on h.hypertable_schema = 'public' and h.hypertable_name = s.table_name
          left join timescaledb_information.dimensions d
            on d.hypertable_schema = 'public' and d.hypertable_name = s.table_name and d.dimension_number = 1
          left join timescaledb_information.jobs p
            on p.hypertable_schema = 'public' and p.hypertable_name = s.table_name and p.proc_name = 'policy_compression'
          left join timescaledb_information.jobs r
            on r.hypertable_schema = 'public' and r.hypertable_name = s.table_name and r.proc_name = 'policy_retention'
         order by s.table_name
    loop
        if not v_table.is_hypertable then
            insert into trigger_permits (permit) values ('removal');    -- of the rows that are in chunks then
            execute format('select %s.create_hypertable(%L, %L, chunk_time_interval => %L::interval,
                                                        create_default_indexes => false, migrate_data => true)',
                           v_schema, v_table.name, v_table.time_column, v_table.chunk_interval);
            delete from trigger_permits p where p.permit = 'removal';
        elsif v_table.time_interval <> v_table.chunk_interval then
            execute format('select %s.set_chunk_time_interval(%L, %L::interval)', v_schema, v_table.name, v_table.chunk_interval);
        end if;
        continue when not v_has_policies;

        if v_table.compress_after is distinct from v_table.compresses_after and not v_table.is_confined then
            execute format('select %s.remove_compression_policy(%L, if_exists => true)', v_schema, v_table.name);
            if v_table.compress_after is not null then
                if not v_table.is_compressed then
                    execute format('alter table %s set (timescaledb.compress, timescaledb.compress_segmentby = %L,
                                                        timescaledb.compress_orderby = %L)',
                                   v_table.name, 'symbol', v_table.time_column || ' desc');
                end if;
                execute format('select %s.add_compression_policy(%L, %L::interval)', v_schema, v_table.name, v_table.compress_after);
            end if;
        end if;
        if v_table.drop_after is distinct from v_table.drops_after then
            execute format('select %s.remove_retention_policy(%L, if_exists => true)', v_schema, v_table.name);
            if v_table.drop_after is not null then
                execute format('select %s.add_retention_policy(%L, %L::interval)', v_schema, v_table.name, v_table.drop_after);
            end if;
        end if;
    end loop;
end
$$;

comment on function arrange_hypertables() is
'Where TimescaleDB is installed, makes trades and candles hypertables as hypertable_settings says, with policies where the licence allows. Called by migrate.';
select _allow('arrange_hypertables', 'admin');
