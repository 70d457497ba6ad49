-- In the order of name and setting type. Secrets are not masked. Reads only.
create or replace function list_setting_templates(p_name text default null, p_owner text default null)
returns setof setting_templates
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_owner text := case when p_owner is null then '' else (_resolve_user(p_owner)).okx_uid end;
begin
    return query
    select * from (
        select * from setting_templates s where s.okx_uid = v_owner
        union all
        select 'default', t.setting_type, default_user_setting(t.setting_type), null, null, null, '' from setting_types t where v_owner = '') t
     where p_name is null or t.name = p_name
     order by t.name, t.setting_type;
end
$$;

comment on function list_setting_templates(text, text) is
'All templates that are everybody''s, or those of a name; p_owner: the own ones of that user. The catalogue''s defaults are the template named default. Raises US004, US007.';
select _allow('list_setting_templates', 'reader writer admin');
