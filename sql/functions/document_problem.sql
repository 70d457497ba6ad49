-- What is wrong with a document as a whole, NULL if nothing: it must be an object of at most 1 MiB as text
-- and 64 levels, numbers within a double's range, so that every reader can parse it. Touches no table.
create or replace function document_problem(p_settings jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    return case
        when jsonb_typeof(p_settings) is distinct from 'object' then 'must be an object'
        when p_settings @? '$.** ? (@.type() == "number" && (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308))'
            then 'must not hold a number outside the range of a double'
        when octet_length(p_settings::text) > 1048576 then 'must be at most 1 MiB'
        when p_settings @? '$.**{64 to last}' then 'must be nested at most 64 levels deep'
    end;
end
$$;

comment on function document_problem(jsonb) is
'What is wrong with a document as a whole, null if nothing: an object, at most 1 MiB as text, 64 levels, numbers within a double.';
revoke execute on function document_problem(jsonb) from public;
