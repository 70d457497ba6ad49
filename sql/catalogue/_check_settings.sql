-- By validate_user_setting(); no value is named. Reads only.
create or replace function _check_settings(p_setting_type text, p_settings jsonb, p_is_partial boolean default false)
returns void
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_problems jsonb := (select jsonb_object_agg(p.key, p.problem) from validate_user_setting(p_setting_type, p_settings, p_is_partial) p);
begin
    if v_problems is not null then
        raise exception using errcode = 'US003',
            message = format('invalid settings for %s', left(p_setting_type, 64)),
            detail = v_problems,
            hint = 'setting_fields lists what each key may hold, setting_rules what several may hold together.';
    end if;
end
$$;

comment on function _check_settings(text, jsonb, boolean) is
'Raises US003 (detail: every bad key and why) unless the document is valid by the catalogue; p_is_partial: as validate_user_setting() has it.';
select _allow('_check_settings', 'admin');
