-- See _keep_trades(): one statement each for all trades. Locks the users (for share).
create or replace function record_trades(p_trades jsonb)
returns table (recorded bigint, known bigint)
language sql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select * from _keep_trades(p_trades, true)
$$;

comment on function record_trades(jsonb) is
'Records many closed trades, each with its okx_uid, all or none; how many were recorded, and how many known already. Raises US010 (detail: {index.key: why}, indexes from 0).';
select _allow('record_trades', 'writer admin');
