-- For this transaction, to be put back afterwards: who calls run_due_changes() has a name and reasons of their own.
create or replace function _write_as_schedule(p_change scheduled_changes, p_what text)
returns jsonb
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_before jsonb := jsonb_build_object('actor', current_setting('settings_store.actor', true),
                                         'reason', current_setting('settings_store.reason', true));
begin
    perform set_config('settings_store.actor', left(p_change.scheduled_by, 200), true),
            set_config('settings_store.reason',
                       left(format('schedule %s%s%s', p_change.id, p_what, coalesce(': ' || p_change.reason, '')), 1000), true);
    return v_before;
end
$$;

comment on function _write_as_schedule(scheduled_changes, text) is
'Lets what is written next say that it is of this schedule, and who scheduled it; returns the actor and the reason that were there.';
select _allow('_write_as_schedule', 'admin');
