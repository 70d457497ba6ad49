-- Locks the owner (for share), then the template.
create or replace function save_setting_template(p_name text, p_setting_type text, p_settings jsonb, p_owner text default null)
returns setting_templates
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row   setting_templates;
    v_owner text := case when p_owner is null then '' else (_lock_user(p_owner)).okx_uid end;
begin
    if p_setting_type <> (check_setting_type(p_setting_type)).setting_type then
        raise exception using errcode = 'US010', message = 'a template is of a setting type, not of a symbol''s document',
            hint = 'It is applied to documents of symbols, too: p_symbol, --symbol.';
    end if;
    perform _check_settings(p_setting_type, p_settings, true);
    insert into setting_templates as t (name, setting_type, settings, okx_uid)
    values (p_name, p_setting_type, p_settings, v_owner)
    on conflict (name, setting_type, okx_uid) do update set settings = excluded.settings
    returning * into v_row;
    return v_row;
exception
    when check_violation or not_null_violation then
        raise exception using errcode = 'US010',
            message = 'not a name for a template',
            hint = 'A name has 1-64 characters without spaces; default is taken by the catalogue''s defaults.';
end
$$;

comment on function save_setting_template(text, text, jsonb, text) is
'Saves a template for a setting type, in place of an earlier one; it may hold some keys only. p_owner: the user''s own. Example: select save_setting_template(''careful'', ''params'', ''{"leverage": 3}''). Raises US002, US003, US004, US007, US010 (bad name).';
select _allow('save_setting_template', 'admin');
