-- 1e-16383 is nine bytes as it comes, twenty as jsonb, and 16 KB as the text that jsonb prints. So numbers are looked at
-- before a document becomes text; but of a small one the text is at most 45 MB, and looking through it is cheaper than
-- taking every number out: none is too long where there are no 30 digits in a row. 1 MiB of text never takes 8 MiB as
-- jsonb ("[0, 0, …": 12 bytes for 3). Touches no table.
create or replace function _document_problem(p_settings jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_text text;
begin
    if jsonb_typeof(p_settings) is distinct from 'object' then
        return 'must be an object';
    elsif pg_column_size(p_settings) > 8 * 1048576 then
        return 'must be at most 1 MiB';
    elsif pg_column_size(p_settings) <= 4096 then
        v_text := p_settings;
    end if;
    if v_text is null or v_text ~ '[0-9]{30}' then
        if exists (select from jsonb_path_query(p_settings, 'strict $.** ? (@.type() == "number")') n
                    where abs(n::numeric) > 1.7976931348623157e308 or scale(n::numeric) > 400) then
            return 'must not hold a number outside the range of a double, or with more than 400 decimal places';
        end if;
    end if;
    if octet_length(coalesce(v_text, p_settings::text)) > 1048576 then
        return 'must be at most 1 MiB';
    elsif p_settings @? '$.**{64 to last}' then
        return 'must be nested at most 64 levels deep';
    end if;
    return null;
end
$$;

comment on function _document_problem(jsonb) is
'What is wrong with a document as a whole, null if nothing: an object, at most 1 MiB as text, 64 levels, numbers within a double and of at most 400 decimal places.';
select _allow('_document_problem', 'admin');
