-- Reads only.
create or replace function setting_template(p_name text, p_setting_type text, p_owner text default null)
returns setting_templates
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row setting_templates;
begin
    perform check_setting_type(p_setting_type);
    select * into v_row from list_setting_templates(p_name, p_owner) t where t.name = p_name and t.setting_type = p_setting_type;
    if not found then
        raise exception using errcode = 'US009',
            message = format('there is no template %s for %s', coalesce(quote_ident(left(p_name, 64)), 'null'), p_setting_type),
            detail = (select coalesce('there is one for: ' || string_agg(t.setting_type, ', '),
                                      (select 'known: ' || string_agg(distinct k.name, ', ') from list_setting_templates(p_owner => p_owner) k), 'there are none')
                        from list_setting_templates(p_name, p_owner) t where t.name = p_name);
    end if;
    return v_row;
end
$$;

comment on function setting_template(text, text, text) is
'A template, by name and setting type: everybody''s, or p_owner''s own. Raises US002, US004, US007, US009 (no such template; detail: what there is).';
select _allow('setting_template', 'reader writer admin');
