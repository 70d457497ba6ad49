-- Tells this database from another, and from itself after a restore: cluster, timeline, database. Reads only.
create or replace function database_identity()
returns text
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select concat_ws('-', (select system_identifier from pg_control_system()),
                     (select timeline_id from pg_control_checkpoint()),
                     (select oid from pg_database where datname = current_database()))
$$;

comment on function database_identity() is
'Tells this database from another, and from itself after a restore. The relay reconciles when it changes.';
revoke execute on function database_identity() from public;
