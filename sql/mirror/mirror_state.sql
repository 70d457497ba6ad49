-- The arrays are of one length; no row for a key nobody ever had. A confined session: of its user's keys. Raises US012. Reads by
-- index, no lock.
create or replace function mirror_state(p_owners text[], p_kinds text[])
returns setof mirror_source
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off    -- these two: whatever the statistics say
set enable_nestloop = off
set jit = off
as $$
begin
    perform confined_to();    -- raises, where the view would only be empty
    return query
    select s.*
      from (select e.* from mirror_source e
             where e.owner = any (p_owners) offset 0) s    -- by index, all of an owner at once: many times as fast as key by key
      join unnest(p_owners, p_kinds) as wanted (owner, kind) on wanted.owner = s.owner and wanted.kind = s.kind;
end
$$;

comment on function mirror_state(text[], text[]) is
'What Redis should hold now in these keys; rows have the shape of the view mirror_source.';
select _allow('mirror_state', 'reader writer relay admin');
