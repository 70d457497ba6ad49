-- Before any insert or update, raw SQL too: as user_settings_version() has it.
create or replace function setting_templates_written()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    new.settings   := _normalised_setting(new.setting_type, new.settings);
    new.changed_by := coalesce(_writer_note('actor'), session_user);
    new.written_by := session_user;
    new.updated_at := clock_timestamp();
    return new;
end
$$;

comment on function setting_templates_written() is
'Trigger on setting_templates: records who saved a template and when, and puts it into the catalogue''s form.';
select _allow('setting_templates_written');

create or replace trigger setting_templates_written
    before insert or update on setting_templates
    for each row execute function setting_templates_written();
