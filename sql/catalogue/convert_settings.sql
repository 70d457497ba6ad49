-- For who saves what older programs wrote: the rule of _convert_settings(), which adoption and sync go by.
create or replace function convert_settings(p_setting_type text, p_settings jsonb)
returns jsonb
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select _convert_settings(p_setting_type, p_settings)
$$;

comment on function convert_settings(text, jsonb) is
'The document with what stands for a value of its key''s type, by the catalogue, made one: "30" for a number, "True", 1 or 0 for a boolean. What the catalogue allows as it is, or wouldn''t allow all the same, stays. Example: select convert_settings(''params'', ''{"leverage": "30"}'').';
select _allow('convert_settings', 'reader writer admin');
