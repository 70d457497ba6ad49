-- No version ever saved is removed by DELETE or TRUNCATE, whoever asks (US005).
create or replace function user_settings_immutable()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    raise exception using errcode = 'US005',
        message = 'the history of settings is immutable',
        detail = format('%s would remove versions.', tg_op),
        hint = 'Call delete_user_setting() or delete_user(); the history stays.';
end
$$;

comment on function user_settings_immutable() is
'Trigger on user_settings: refuses DELETE and TRUNCATE (US005).';
revoke execute on function user_settings_immutable() from public;

create or replace trigger user_settings_immutable
    before delete or truncate on user_settings
    for each statement execute function user_settings_immutable();
