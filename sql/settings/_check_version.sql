-- 0: there is none. Touches no table.
create or replace function _check_version(p_expected_version integer, p_version integer, p_what text, p_okx_uid text)
returns void
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if p_version <> p_expected_version then
        raise exception using errcode = 'US001',
            message = format('version conflict on %s of user %s', p_what, p_okx_uid),
            detail = format('expected version %s, current version %s', p_expected_version, p_version),
            hint = 'Read the current version and decide again.';
    end if;
end
$$;

comment on function _check_version(integer, integer, text, text) is
'Raises US001 (detail: both versions) unless the expected version is null or the current one.';
select _allow('_check_version', 'admin');
