-- What makes users of what Redis holds asks before it reads there, and again (_check_erasures) before it writes: the mark of an
-- erased key is gone as soon as Redis is clear of it, what was read before is not.
create or replace function erasures()
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    lock table erasure_gate in row share mode;
    return (select case when e.is_called then e.last_value else 0 end from erasure_count e);
end
$$;

comment on function erasures() is
'How many people were ever erased. Waits for an erasure under way; none begins until the transaction ends.';
select _allow('erasures', 'writer admin');
