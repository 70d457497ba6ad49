-- None: not set, or empty, as a setting is after the transaction of a `set local`. A typing error must not open everything.
-- Touches no table.
create or replace function confined_to()
returns text
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_okx_uid text := nullif(current_setting('settings_store.okx_uid', true), '');
begin
    if v_okx_uid !~ '^[0-9]{16,20}$' then
        raise exception using errcode = 'US012',
            message = 'settings_store.okx_uid is not an OKX UID',
            detail = format('it has %s characters', length(v_okx_uid)),
            hint = 'An OKX UID has 16-20 digits; reset settings_store.okx_uid ends the confinement.';
    end if;
    return v_okx_uid;
end
$$;

comment on function confined_to() is
'The OKX UID that this session is confined to (set settings_store.okx_uid), null if it isn''t. Raises US012 (the setting is no OKX UID).';
select _allow('confined_to', 'admin');
