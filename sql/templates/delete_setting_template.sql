-- Users it was applied to keep what they have.
create or replace function delete_setting_template(p_name text, p_setting_type text default null, p_owner text default null)
returns integer
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_count integer;
    v_owner text := case when p_owner is null then '' else (_resolve_user(p_owner)).okx_uid end;
begin
    if p_name = 'default' then
        raise exception using errcode = 'US010',
            message = 'the template default can''t be deleted',
            hint = 'It stands for the catalogue: setting_fields.default_value.';
    end if;
    delete from setting_templates t
     where t.name = p_name and t.okx_uid = v_owner and t.setting_type = coalesce(p_setting_type, t.setting_type);
    get diagnostics v_count = row_count;
    if v_count = 0 then
        raise exception using errcode = 'US009',
            message = format('there is no template %s%s', coalesce(quote_ident(left(p_name, 64)), 'null'), ' for ' || left(p_setting_type, 64));
    end if;
    return v_count;
end
$$;

comment on function delete_setting_template(text, text, text) is
'Deletes a template, of one setting type or of all; p_owner: that user''s own. Returns how many. Raises US009 (no such template), US010 (default).';
select _allow('delete_setting_template', 'admin');
