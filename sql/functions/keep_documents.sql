-- Puts documents that were found in Redis, and that PostgreSQL is about to overwrite there, into the history; nothing
-- that is in force changes. p_items and the result: as import_documents(), whose p_keep_only this is, for those who may
-- do no more. Locks as that does.
create or replace function keep_documents(p_items jsonb)
returns table (owner text, kind text, outcome text, seen integer, problems jsonb)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    return query select * from import_documents(p_items, p_keep_only => true, p_dry_run => false);
end
$$;

comment on function keep_documents(jsonb) is
'Puts documents found in Redis into the history before PostgreSQL''s own overwrite them there; see import_documents(). Used by relay and verify.';
revoke execute on function keep_documents(jsonb) from public;
