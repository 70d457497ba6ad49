-- The key is saved as it comes from now on. Idempotent.
create or replace function delete_setting_field(p_setting_type text, p_key text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    delete from setting_fields f where f.setting_type = p_setting_type and f.key = normalize(p_key);
    return found;
end
$$;

comment on function delete_setting_field(text, text) is
'Takes a key out of the catalogue; documents keep it. Returns whether it was there.';
select _allow('delete_setting_field', 'admin');
