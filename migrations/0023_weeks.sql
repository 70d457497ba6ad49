-- Weeks are computed of the daily candles, on TimescaleDB too: its aggregate was stale for what was corrected, and empty before
-- its first refresh.
-- depends: 0022_integers
do $$
begin
    if to_regclass('public.ohlcv_1w_aggregate') is not null then
        drop view if exists ohlcv_1w;    -- sql/ makes it anew
        drop materialized view ohlcv_1w_aggregate;
    end if;
end
$$;
drop function if exists arrange_hypertables();    -- it returned whether it had made the aggregate
drop function if exists timescaledb_state();    -- it tells more
