-- The advisory lock between erase_user() and what makes users from what Redis holds (import_documents, import_links).
create or replace function erasure_lock()
returns bigint
language sql immutable
return 1581536618;

comment on function erasure_lock() is
'The advisory lock key by which erase_user() and the imports from Redis keep out of each other''s way.';
revoke execute on function erasure_lock() from public;
