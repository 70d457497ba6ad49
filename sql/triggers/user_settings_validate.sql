-- Checks every new version against the catalogue; US003 names all bad keys, and no value.
-- After the row is written, as a conflicting insert would be checked twice before.
create or replace function user_settings_validate()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_problems jsonb;
begin
    if current_setting('settings_store.keep_as_found', true) = 'on' then
        return null;    -- keep_losing_document(): the active document replaces it in the next statement
    end if;
    select jsonb_object_agg(p.key, p.problem) into v_problems
      from validate_user_setting(new.setting_type, new.settings) p;
    if v_problems is not null then
        raise exception using errcode = 'US003',
            message = format('invalid settings for %s', new.setting_type),
            detail = v_problems::text,
            hint = 'The table setting_fields lists what each key may hold.';
    end if;
    return null;
end
$$;

comment on function user_settings_validate() is
'Trigger on user_settings: refuses a document that validate_user_setting() finds fault with (US003).';
revoke execute on function user_settings_validate() from public;

create or replace trigger user_settings_validate
    after insert or update of settings on user_settings
    for each row when (new.is_active and new.deleted_at is null) execute function user_settings_validate();
