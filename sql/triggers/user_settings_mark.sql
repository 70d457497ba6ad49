-- Every new version, whoever writes it, is marked for Redis in the same transaction.
create or replace function user_settings_mark()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform mark_pending(new.okx_uid, new.setting_type, new.version);
    return null;
end
$$;

comment on function user_settings_mark() is
'Trigger on user_settings: marks the key in mirror_pending.';
revoke execute on function user_settings_mark() from public;

create or replace trigger user_settings_mark_insert
    after insert on user_settings
    for each row when (new.is_active) execute function user_settings_mark();

create or replace trigger user_settings_mark_update
    after update on user_settings
    for each row when (new.version > old.version) execute function user_settings_mark();
