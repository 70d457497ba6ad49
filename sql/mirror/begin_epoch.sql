-- Several relays get the same word. The commit doesn't wait for the disk: a crash empties the table anyway. US012 in a confined
-- session, which sees one user's keys only. Locks the row.
create or replace function begin_epoch()
returns table (origin text, epoch text, next_epoch text)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform check_confinement(null);
    if current_setting('transaction_read_only')::boolean then    -- also on a standby, which can't touch an unlogged table
        return;
    end if;
    perform set_config('synchronous_commit', 'off', true);
    return query
    insert into mirror_epochs as e (origin, next_epoch) values (gen_random_uuid()::text, gen_random_uuid()::text)
        on conflict (is_only) do update set next_epoch = coalesce(e.next_epoch, excluded.next_epoch)
    returning e.origin, e.epoch, e.next_epoch;
end
$$;

comment on function begin_epoch() is
'Prepares the next epoch of the mirror, or returns the one that somebody has prepared; end_epoch() when Redis has its word. No row in a read-only transaction. Used by the relay. Raises US012.';
select _allow('begin_epoch', 'relay admin');
