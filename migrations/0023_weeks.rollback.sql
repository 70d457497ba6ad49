drop function if exists arrange_hypertables();
drop function if exists timescaledb_state();
-- The aggregate, where TimescaleDB's licence has such.
do $$
declare
    v_schema constant text := (select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace
                                where e.extname = 'timescaledb');
begin
    if v_schema is null or current_setting('timescaledb.license', true) is distinct from 'timescale' then
        return;
    elsif exists (select from timescaledb_information.hypertables h where h.hypertable_schema = 'public' and h.hypertable_name = 'ohlcv_1d') then
        execute format(
            'create materialized view public.ohlcv_1w_aggregate with (timescaledb.continuous, timescaledb.materialized_only = false) as
             select %1$s.time_bucket(''7 days'', d.ts, ''2000-01-03 00:00Z''::timestamptz) as ts, d.symbol,
                    %1$s.first(d.open, d.ts) as open, max(d.high) as high, min(d.low) as low,
                    %1$s.last(d.close, d.ts) as close, sum(d.volume) as volume,
                    bool_and(d.complete) and count(*) = 7 as complete
               from public.ohlcv_1d d
              group by 1, 2 with no data', v_schema);
        execute format('select %s.add_continuous_aggregate_policy(''public.ohlcv_1w_aggregate'', null, interval ''7 days'', interval ''1 hour'')',
                       v_schema);
    end if;
end
$$;
