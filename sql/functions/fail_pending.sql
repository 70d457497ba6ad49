-- Sets a marked key aside with the reason, so that it doesn't stop the rest; the next write of the key, or
-- the relay's next reconciliation, tries it again. Returns whether the key was marked.
create or replace function fail_pending(p_owner text, p_kind text, p_error text)
returns boolean
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    update mirror_pending m set attempts = m.attempts + 1, last_error = left(p_error, 500)
     where m.owner = p_owner and m.kind = p_kind;
    return found;
end
$$;

comment on function fail_pending(text, text, text) is
'Sets a key of mirror_pending aside with the reason why Redis refused it.';
revoke execute on function fail_pending(text, text, text) from public;
