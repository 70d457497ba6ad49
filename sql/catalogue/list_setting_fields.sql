-- Reads only.
create or replace function list_setting_fields(p_setting_type text default null)
returns setof setting_fields
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if p_setting_type is not null then
        perform check_setting_type(p_setting_type);
    end if;
    return query select * from setting_fields f
     where f.setting_type = split_part(coalesce(p_setting_type, f.setting_type), ':', 1) order by f.setting_type, f.key;
end
$$;

comment on function list_setting_fields(text) is
'The known keys of every setting type, or of one, with type, default, limits and what they are for. Raises US002, US010.';
select _allow('list_setting_fields', 'reader writer relay admin');
