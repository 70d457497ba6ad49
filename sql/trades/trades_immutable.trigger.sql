-- A recorded trade never changes and never goes (US005), but for erase_user() and a restore, which have a permit, for
-- _keep_trades(), which completes it by one, and for arrange_hypertables(): TimescaleDB empties the table once its rows are in
-- chunks. A retention policy drops whole chunks, which fires no trigger.
create or replace function trades_immutable()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if _is_permitted(case tg_op when 'UPDATE' then 'completion' else 'removal' end) then
        return null;
    end if;
    raise exception using errcode = 'US005',
        message = 'a recorded trade never changes',
        detail = format('%s of %s was asked for.', tg_op, tg_table_name),
        hint = 'erase_user() removes everything of a person.';
end
$$;

comment on function trades_immutable() is
'Trigger on trades, trade_orders: refuses UPDATE, DELETE and TRUNCATE (US005), but for record_trade(), erase_user() and a restore.';
select _allow('trades_immutable');

create or replace trigger trades_immutable
    before update or delete or truncate on trades
    for each statement execute function trades_immutable();

create or replace trigger trades_immutable
    before update or delete or truncate on trade_orders
    for each statement execute function trades_immutable();
