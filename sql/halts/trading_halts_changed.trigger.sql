-- The next version of what Redis should hold of all halts, and its mark, in the writer's own transaction. Whoever changes
-- halts waits for the row of the version: what a version stands for is one content.
create or replace function trading_halts_changed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_version integer;
begin
    insert into halts_version as v (version) values (1)
        on conflict (is_only) do update
       set version = v.version + 1, updated_at = greatest(clock_timestamp(), v.updated_at + interval '1 microsecond')
    returning v.version into v_version;
    perform _mark_pending(everybody_okx_uid(), 'halts', v_version);
    return null;
end
$$;

comment on function trading_halts_changed() is
'Trigger on trading_halts: numbers what Redis should hold of them (halts_version) and marks the key.';
select _allow('trading_halts_changed');

create or replace trigger trading_halts_changed
    after insert or update or delete on trading_halts
    for each row execute function trading_halts_changed();
