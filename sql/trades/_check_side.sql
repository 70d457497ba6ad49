-- null: both sides. Touches no table.
create or replace function _check_side(p_side text)
returns void
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if p_side not in ('long', 'short') then
        raise exception using errcode = 'US010', message = 'no side of a trade', hint = 'It is long or short.';
    end if;
end
$$;

comment on function _check_side(text) is
'Raises US010 unless a side is long, short or null.';
select _allow('_check_side', 'admin');
