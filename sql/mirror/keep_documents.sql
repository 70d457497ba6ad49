-- Puts documents that were found in Redis, and that PostgreSQL is about to overwrite there, into the history; nothing
-- that is in force changes. p_items and the result: as import_documents(), whose p_keep_only this is, for those who may
-- do no more. Locks as that does, but waits for nobody: where another transaction holds a row, nothing is kept, and every
-- outcome is `locked`. p_dry_run: what a sync would make of them, by which verify tells what differs; no lock.
create or replace function keep_documents(p_items jsonb, p_dry_run boolean default false)
returns table (owner text, kind text, outcome text, seen integer, problems jsonb, version integer)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set lock_timeout = '10ms'
as $$
begin
    return query select * from import_documents(p_items, p_keep_only => not p_dry_run, p_dry_run => p_dry_run);
exception when lock_not_available then
    return query
    select i.owner, i.kind, 'locked', i.version, null::jsonb, null::integer
      from jsonb_to_recordset(p_items) as i (owner text, kind text, version integer);
end
$$;

comment on function keep_documents(jsonb, boolean) is
'Puts documents found in Redis into the history before PostgreSQL''s own overwrite them there; see import_documents(). Where another transaction holds a row: `locked`, try again. p_dry_run: what a sync would make of them. Used by relay and verify.';
select _allow('keep_documents', 'writer relay admin');
