-- No row in a confined session, either, as it is about everybody's keys. Reads only.
create or replace function last_verification()
returns table (finished_at timestamptz, checked bigint, findings jsonb, repaired bigint, remaining bigint)
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select v.finished_at, v.checked, v.findings, v.repaired,
           greatest(0, (select coalesce(sum(f.value::bigint), 0) from jsonb_each_text(v.findings - 'pending') f) - v.repaired)::bigint
      from mirror_verifications v
     where (select confined_to()) is null
$$;

comment on function last_verification() is
'What the last verify of all keys found, by kind of finding, how many of it are mended, and how many remain but for those that wait for the relay; no row before the first.';
select _allow('last_verification', 'reader writer relay admin');
