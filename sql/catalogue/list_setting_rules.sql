-- Reads only.
create or replace function list_setting_rules(p_setting_type text default null)
returns setof setting_rules
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if p_setting_type is not null then
        perform check_setting_type(p_setting_type);
    end if;
    return query select * from setting_rules r
     where r.setting_type = split_part(coalesce(p_setting_type, r.setting_type), ':', 1) order by r.setting_type, r.name;
end
$$;

comment on function list_setting_rules(text) is
'What several keys of a document must keep to together: the rules of every setting type, or of one. Raises US002, US010.';
select _allow('list_setting_rules', 'reader writer relay admin');
