-- Cluster, timeline, database. The timeline is that of the log being written: a standby's control file names the old one for
-- minutes after its promotion, until the next checkpoint is done. Reads only.
create or replace function database_identity()
returns text
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select concat_ws('-', (select system_identifier from pg_control_system()),
                     case when pg_is_in_recovery() then (select timeline_id from pg_control_checkpoint())
                          else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer end,
                     (select oid from pg_database where datname = current_database()))
$$;

comment on function database_identity() is
'Tells this database from another, and from itself after a restore. The relay reconciles when it changes.';
select _allow('database_identity', 'relay admin');
