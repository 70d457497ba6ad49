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
    select * into v_type from setting_types t where t.setting_type = p_setting_type;
    if not found then
        raise exception using errcode = 'US002',
            message = format('unknown setting type %s', coalesce(quote_ident(left(p_setting_type, 64)), 'null')),
            detail = (select 'known: ' || string_agg(t.setting_type, ', ' order by t.setting_type) from setting_types t);
    end if;
    return v_type;
end
$$;

comment on function check_setting_type(text) is
'The row of a setting type. Raises US002 (detail: the known ones) if there is none.';
select _allow('check_setting_type', 'reader writer relay admin');
