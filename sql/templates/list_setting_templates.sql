-- In the order of name and setting type. Secrets are not masked. Reads only.
create or replace function list_setting_templates(p_name text default null)
returns setof setting_templates
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select * from (
        select * from setting_templates
        union all
        select 'default', t.setting_type, default_user_setting(t.setting_type), null, null, null from setting_types t) t
     where p_name is null or t.name = p_name
     order by t.name, t.setting_type
$$;

comment on function list_setting_templates(text) is
'All templates, or those of a name. The catalogue''s defaults are the template named default.';
select _allow('list_setting_templates', 'reader writer admin');
