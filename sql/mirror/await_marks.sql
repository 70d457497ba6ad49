-- Where it can't be, writers go on as if nobody listened, and the relay polls. A queue of notifications that is full fails every
-- commit that notifies; whoever listens and hangs fills it, but not a relay, as one that hangs doesn't ask again. Takes no lock
-- that anybody waits for, no transaction's number, and writes no WAL.
create or replace function await_marks(p_seconds double precision)
returns text
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if pg_is_in_recovery() then
        return 'a standby takes no LISTEN';
    elsif current_setting('transaction_read_only')::boolean then
        return 'transactions are read-only';
    elsif current_setting('max_prepared_transactions')::integer > 0 then
        return 'max_prepared_transactions is not 0, and whoever notifies could not prepare a transaction';
    elsif pg_notification_queue_usage() > 0.1 then
        return 'the queue of notifications fills, as somebody who listens reads none';
    end if;
    perform setval('relay_listens', greatest(least(l.last_value, n.now + 60000), n.now + (1000 * least(p_seconds, 60))::bigint))
       from relay_listens l, (select (extract(epoch from clock_timestamp()) * 1000)::bigint as now) n;
    return null;
end
$$;

comment on function await_marks(double precision) is
'Has whoever marks a key notify the channel settings_store_marks, for so many seconds (at most 60); but for those who bring it to Redis themselves, as the Python layer does (settings_store.mirrors is on). Returns why that can''t be: a standby, transactions that are read-only, or may be prepared, a queue of notifications that fills; else null. Used by relay --notify.';
select _allow('await_marks', 'relay admin');
