-- In place of the one before. US012 in a confined session, which has seen one user's keys only.
create or replace function record_verification(p_checked bigint, p_findings jsonb, p_repaired bigint default 0)
returns mirror_verifications
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row mirror_verifications;
begin
    perform check_confinement(null);
    if p_checked is null or p_checked < 0 or p_repaired is null or p_repaired < 0
       or p_findings is null or jsonb_typeof(p_findings) <> 'object' or length(p_findings::text) > 2000
       or jsonb_path_exists(p_findings, 'strict $.* ? (@.type() != "number" || @ < 0 || @ > 1000000000000 || @ != @.floor())') then
        raise exception using errcode = 'US010',
            message = 'keys are counted: how many were looked at, how many differ by kind of finding, how many are mended';
    end if;
    insert into mirror_verifications as v (finished_at, checked, findings, repaired)
    values (clock_timestamp(), p_checked, p_findings, p_repaired)
        on conflict (is_last) do update
       set finished_at = excluded.finished_at, checked = excluded.checked, findings = excluded.findings,
           repaired = excluded.repaired
    returning v.* into v_row;
    return v_row;
end
$$;

comment on function record_verification(bigint, jsonb, bigint) is
'Records the outcome of a verify of all keys: how many were looked at, how many differ by kind of finding, how many of those are mended. Raises US010.';
select _allow('record_verification', 'relay admin');
