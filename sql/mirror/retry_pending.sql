-- In a confined session: its user's. Waits for nobody: a mark that a writer holds is given another try by that writer, or next
-- time.
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
    update mirror_pending m set last_error = null
     where m.ctid = any (array(select p.ctid from mirror_pending p
                                where p.last_error is not null and (v_only is null or p.owner = any (v_only))
                                  for update skip locked));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

comment on function retry_pending() is
'Gives the keys of mirror_pending that were set aside with an error another try. Returns how many.';
select _allow('retry_pending', 'relay admin');
