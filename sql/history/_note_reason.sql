-- To be put back afterwards: other statements of the transaction have reasons of their own.
create or replace function _note_reason(p_reason text)
returns text
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_given text := coalesce(current_setting('settings_store.reason', true), '');
begin
    if v_given = '' then
        perform set_config('settings_store.reason', p_reason, true);
    end if;
    return v_given;
end
$$;

comment on function _note_reason(text) is
'Sets settings_store.reason for this transaction if it is empty; returns what it was.';
select _allow('_note_reason', 'admin');
