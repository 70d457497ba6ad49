-- Checks every new version against the catalogue; US003 names all bad keys, and no value.
-- It is on the write path: a quick look decides, the messages are made only for what is bad.
create or replace function user_settings_validate()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if document_problem(new.settings) is null
       and not exists (select from setting_fields f
                        cross join lateral (select new.settings -> f.key as value offset 0) v
                        where f.setting_type = new.setting_type and v.value is not null and not is_valid_value(f, v.value)) then
        return null;
    end if;
    if is_permitted('keep as found', new.id) then
        return null;    -- keep_losing_document(): the active document replaces it in the next statement
    end if;
    perform check_settings(new.setting_type, new.settings);
    return null;
end
$$;

comment on function user_settings_validate() is
'Trigger on user_settings: refuses a document that validate_user_setting() finds fault with (US003).';
revoke execute on function user_settings_validate() from public;

create or replace trigger user_settings_validate
    after insert or update of settings on user_settings
    for each row when (new.is_active and new.deleted_at is null) execute function user_settings_validate();
