-- Gives keys that were set aside (in a confined session: its user's) another try. Returns how many.
create or replace function retry_pending()
returns integer
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_count integer;
    v_only  text[] := confined_owners();
begin
    update mirror_pending m set last_error = null where m.last_error is not null and (v_only is null or m.owner = any (v_only));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

comment on function retry_pending() is
'Gives the keys of mirror_pending that were set aside with an error another try. Returns how many.';
revoke execute on function retry_pending() from public;
