-- Server, timeline, database, table (another one after pg_restore --clean) and era (change_feed): where one of them is another,
-- transactions have other numbers, or other changes. Reads only.
create or replace function _feed_state()
returns text
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select left(encode(sha256(convert_to(concat(database_identity(), 'user_settings'::regclass::oid, f.era), 'UTF8')), 'hex'), 12)
      from change_feed f
$$;

comment on function _feed_state() is
'What a cursor of changes_after() is good for: twelve digits that are others after a restore or a failover.';
select _allow('_feed_state');
