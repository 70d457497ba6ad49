-- Names p_what and no value. Touches no table.
create or replace function _check_length(p_what text, p_text text, p_most integer)
returns text
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if length(p_text) > p_most then
        raise exception using errcode = 'US010',
            message = format('%s is too long', p_what),
            detail = format('it has %s characters, %s are the most', length(p_text), p_most);
    end if;
    return p_text;
end
$$;

comment on function _check_length(text, text, integer) is
'The text, if it has at most p_most characters; else raises US010 (detail: how many it has).';
select _allow('_check_length', 'admin');
