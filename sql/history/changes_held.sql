-- Committed, but a transaction with a smaller number is under way, which may have changed something, too. Of a prepared transaction,
-- and on a standby, the process is null. A confined session: changes of its user. Reads by index; no lock.
create or replace function changes_held()
returns table (waited interval, process integer)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_only     constant text := confined_to();
    v_snapshot constant pg_snapshot := pg_current_snapshot();
begin
    select clock_timestamp() - s.updated_at into waited from user_settings s
     where s.saved_in >= pg_snapshot_xmin(v_snapshot) and s.saved_in is distinct from pg_current_xact_id_if_assigned()
       and s.okx_uid <> probe_okx_uid() and (v_only is null or s.okx_uid = v_only)
     order by s.saved_in, s.updated_at
     limit 1;
    if found then
        select l.pid into process from pg_locks l
         where l.locktype = 'transactionid' and l.granted and l.transactionid = pg_snapshot_xmin(v_snapshot)::xid;
        return next;
    end if;
end
$$;

comment on function changes_held() is
'What changes_after() can''t give yet, though it is committed: a row with the age of the first such change and the process whose open transaction, of any database of the server, holds it back (null: a prepared one, or not known); no row if nothing is held.';
select _allow('changes_held', 'reader writer admin');
