-- Locks the row. Returns false if another one was begun since.
create or replace function end_epoch(p_epoch text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_own xid8 := pg_current_xact_id();
begin
    perform check_confinement(null);
    perform set_config('synchronous_commit', 'off', true);
    update mirror_epochs e
       set epoch = p_epoch, next_epoch = null,
           -- If another transaction is under way, what it saves comes after this turn.
           quiet_until = case when pg_snapshot_xmin(pg_current_snapshot()) >= v_own
                              then (v_own::text::bigint + 1)::text::xid8 else '0'::xid8 end
     where e.next_epoch = p_epoch;
    return found;
end
$$;

comment on function end_epoch(text) is
'Makes the epoch that begin_epoch() has prepared the current one, as Redis has its word now. Used by the relay. Raises US012.';
select _allow('end_epoch', 'relay admin');
