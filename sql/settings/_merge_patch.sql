-- As the RFC's pseudocode has it. NULL patch: SQL NULL. Touches no table.
create or replace function _merge_patch(p_target jsonb, p_patch jsonb)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_target jsonb := case jsonb_typeof(p_target) when 'object' then p_target else '{}' end;
    v_field  record;
begin
    if jsonb_typeof(p_patch) <> 'object' then
        return p_patch;
    end if;
    for v_field in select * from jsonb_each(p_patch) loop
        v_target := case jsonb_typeof(v_field.value)
            when 'null'   then v_target - v_field.key
            when 'object' then v_target || jsonb_build_object(v_field.key, _merge_patch(v_target -> v_field.key, v_field.value))
            else v_target || jsonb_build_object(v_field.key, v_field.value)
        end;
    end loop;
    return v_target;
end
$$;

comment on function _merge_patch(jsonb, jsonb) is
'JSON merge patch (RFC 7396): null removes a key, objects merge, everything else replaces.';
select _allow('_merge_patch', 'admin');
