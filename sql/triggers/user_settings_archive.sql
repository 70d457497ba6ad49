-- Keeps the old value of a changed document as an inactive row, word for word. The active row keeps its id.
create or replace function user_settings_archive()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    old.id        := gen_random_uuid();
    old.is_active := false;
    insert into user_settings select old.*;
    return null;
end
$$;

comment on function user_settings_archive() is
'Trigger on user_settings: archives the version that a change replaces.';
revoke execute on function user_settings_archive() from public;

create or replace trigger user_settings_archive
    after update on user_settings
    for each row when (new.version > old.version) execute function user_settings_archive();
