-- A standby can't read an unlogged table. Reads only.
create or replace function mirror_epoch()
returns table (identity text, origin text, epoch text, next_epoch text, is_due boolean)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    identity := database_identity();
    is_due := true;
    if not pg_is_in_recovery() then
        select e.origin, e.epoch, e.next_epoch, pg_snapshot_xmax(pg_current_snapshot()) > e.quiet_until
          into origin, epoch, next_epoch, is_due
          from mirror_epochs e;
        is_due := coalesce(is_due, true);
    end if;
    return next;
end
$$;

comment on function mirror_epoch() is
'Which database this is (database_identity()), the words by which the relay knows that Redis and PostgreSQL are at no earlier state than at its last look (see mirror_epochs; null: there are none), and whether something may have been saved since the last turn. One row.';
select _allow('mirror_epoch', 'relay admin');
