-- A confined session: of its user's keys. Reads only.
create or replace function pending_lag()
returns table (waiting bigint, set_aside bigint, oldest interval)
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select count(*) filter (where m.last_error is null), count(*) filter (where m.last_error is not null),
           coalesce(clock_timestamp() - min(m.marked_at) filter (where m.last_error is null), '0')
      from mirror_pending m
     where (select confined_owners()) is null or m.owner = any ((select confined_owners())::text[])
$$;

comment on function pending_lag() is
'How far Redis is behind PostgreSQL: keys waiting for the relay, keys set aside with an error, age of the oldest waiting.';
select _allow('pending_lag', 'relay admin');
