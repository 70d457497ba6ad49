-- Touches no table.
create or replace function _check_versioned(p_setting_type text)
returns void
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if p_setting_type is null or p_setting_type not in ('params', 'dual_side') then
        raise exception using errcode = 'US010', message = 'trades don''t note versions of this setting type',
            hint = 'They note those of params and dual_side.';
    end if;
end
$$;

comment on function _check_versioned(text) is
'Raises US010 unless trades note the versions of a setting type.';
select _allow('_check_versioned', 'admin');
