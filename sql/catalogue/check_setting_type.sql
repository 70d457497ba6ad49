-- null is unknown. No lock.
create or replace function check_setting_type(p_setting_type text)
returns setting_types
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_type setting_types;
begin
    select * into v_type from setting_types t where t.setting_type = split_part(p_setting_type, ':', 1);
    if not found then
        raise exception using errcode = 'US002',
            message = format('unknown setting type %s', coalesce(quote_ident(left(p_setting_type, 64)), 'null')),
            detail = (select 'known: ' || string_agg(t.setting_type, ', ' order by t.setting_type) from setting_types t);
    elsif p_setting_type <> v_type.setting_type and _setting_type_problem(p_setting_type) is not null then
        raise exception using errcode = 'US010',
            message = _setting_type_problem(p_setting_type),
            detail = (select 'types with documents of symbols: ' || string_agg(t.setting_type, ', ' order by t.setting_type)
                        from setting_types t where t.has_symbols),
            hint = 'Symbols have capitals, digits and hyphens, as BTC-USDT-SWAP.';
    end if;
    return v_type;
end
$$;

comment on function check_setting_type(text) is
'The row of a setting type, which may come with a symbol (dual_side:BTC-USDT-SWAP). Raises US002 (detail: the known ones) if there is none, US010 if it has no documents of symbols, or that is none.';
select _allow('check_setting_type', 'reader writer relay admin');
