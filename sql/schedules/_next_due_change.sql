-- What every relay asks once a second: by a partial index, whatever the statistics say. Locks the row, unless somebody else has it.
-- Of this statement's beginning: what was put off since isn't due. A confined session: what is of its user alone.
create or replace function _next_due_change()
returns scheduled_changes
language plpgsql
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_only   text := confined_to();
    v_change scheduled_changes;
begin
    select * into v_change from scheduled_changes c
     where c.due_at <= statement_timestamp() and (v_only is null or c.okx_uid = v_only) order by c.due_at limit 1 for update skip locked;
    return v_change;
end
$$;

comment on function _next_due_change() is
'The scheduled change that has waited longest of those due, locked; null if there is none.';
select _allow('_next_due_change');
