-- Keys that Redis may not have, with what it should hold now: marks joined with the current state, oldest
-- first. p_owners limits it to those; keys set aside with an error wait for p_include_failed. No lock, so
-- no writer waits.
create or replace function pending_keys(
    p_owners         text[] default null,
    p_limit          integer default 1000,
    p_include_failed boolean default false
)
returns setof mirror_source
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select s.*
      from mirror_pending m
      join mirror_source s on s.owner = m.owner and s.kind = m.kind
     where (p_owners is null or m.owner = any (p_owners))
       and (p_include_failed or m.last_error is null)
     order by m.marked_at
     limit p_limit
$$;

comment on function pending_keys(text[], integer, boolean) is
'What is to be mirrored: the current state of every key marked in mirror_pending (of these owners), oldest first. Rows have the shape of the view mirror_source.';
revoke execute on function pending_keys(text[], integer, boolean) from public;
