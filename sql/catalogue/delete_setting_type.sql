-- US005: documents or templates are. Idempotent. Waits for writers.
create or replace function delete_setting_type(p_setting_type text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    delete from setting_types t where t.setting_type = p_setting_type;
    return found;
exception
    when foreign_key_violation then
        raise exception using errcode = 'US005',
            message = format('setting type %s is in use', p_setting_type),
            detail = 'There are templates of this type.';
end
$$;

comment on function delete_setting_type(text) is
'Deletes a setting type that nothing was saved under, with its fields; whether it was there. Raises US005 (in use).';
select _allow('delete_setting_type', 'admin');
