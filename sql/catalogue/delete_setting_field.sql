-- The key is saved as it comes from now on. Idempotent.
create or replace function delete_setting_field(p_setting_type text, p_key text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if exists (select from setting_rules r where r.setting_type = p_setting_type and normalize(p_key) = any (r.keys)) then
        raise exception using errcode = 'US005',
            message = 'the key is in use',
            detail = (select 'by the rules: ' || string_agg(r.name, ', ' order by r.name) from setting_rules r
                       where r.setting_type = p_setting_type and normalize(p_key) = any (r.keys));
    end if;
    delete from setting_fields f where f.setting_type = p_setting_type and f.key = normalize(p_key);
    return found;
end
$$;

comment on function delete_setting_field(text, text) is
'Takes a key out of the catalogue; documents keep it. Returns whether it was there. Raises US005 (a rule names it).';
select _allow('delete_setting_field', 'admin');
