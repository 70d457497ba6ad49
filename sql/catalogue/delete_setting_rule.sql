-- Idempotent.
create or replace function delete_setting_rule(p_setting_type text, p_name text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    delete from setting_rules r where r.setting_type = p_setting_type and r.name = p_name;
    return found;
end
$$;

comment on function delete_setting_rule(text, text) is
'Takes a rule back; whether it was there.';
select _allow('delete_setting_rule', 'admin');
