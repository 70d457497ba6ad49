-- Sets a marked key aside with the reason, so that it doesn't stop the rest; a newer mark stays, and in a
-- confined session another user's. The next
-- write of the key or retry_pending() tries it again. Returns whether it was set aside.
create or replace function fail_pending(p_owner text, p_kind text, p_version integer, p_error text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    update mirror_pending m set attempts = m.attempts + 1, last_error = left(p_error, 500)
     where m.owner = p_owner and m.kind = p_kind and m.version <= p_version
       and ((select confined_owners()) is null or m.owner = any ((select confined_owners())::text[]));
    return found;
end
$$;

comment on function fail_pending(text, text, integer, text) is
'Sets a key of mirror_pending aside with the reason why Redis refused this version.';
revoke execute on function fail_pending(text, text, integer, text) from public;
