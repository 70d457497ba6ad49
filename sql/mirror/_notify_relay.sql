-- A NOTIFY takes a lock of the whole server at commit, so there is none but while a relay has little to do: await_marks(). What
-- isn't told is found by the relay's next look. pg_sequence_last_value(), as a query of the sequence costs five times as much.
create or replace function _notify_relay()
returns void
language plpgsql
security definer    -- before PostgreSQL 18 a sequence tells others nothing
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if current_setting('settings_store.mirrors', true) is distinct from 'on'
       and pg_sequence_last_value('relay_listens') > extract(epoch from clock_timestamp()) * 1000 then
        perform pg_notify('settings_store_marks', '');
    end if;
end
$$;

comment on function _notify_relay() is
'Tells a relay that listens that a key is marked, when the transaction is committed. Called where keys are marked.';
select _allow('_notify_relay', 'admin');
