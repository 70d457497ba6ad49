-- Rights: who wrote each version, a lock that nobody else can take, and names that may steer code.
-- depends: 0013_erasures

alter table user_settings add column written_by text;
alter table okx_api_info add column written_by text;
alter table setting_templates add column written_by text;
comment on column user_settings.changed_by is 'Who saved this version, as the session said of itself: the setting settings_store.actor, else the login.';
comment on column user_settings.written_by is 'The login (session_user) that saved this version; null: it was saved before the store noted it.';
comment on column okx_api_info.written_by is 'As user_settings.written_by.';
comment on column setting_templates.written_by is 'The login (session_user) that saved the template; null: it was saved before the store noted it.';

-- Nobody but the owner has any right on it, so nobody else can lock it.
create table erasure_gate (nobody boolean primary key check (false));
comment on table erasure_gate is 'Has no rows: erase_user() and the imports from Redis keep out of each other''s way by locking it. Not an advisory lock, which anybody can take by its number.';

-- Rows of these tables name tables, Redis keys and columns. `not valid`: what is there already stays, and is checked where it is used.
alter table timeframes
    add constraint timeframes_name check (timeframe ~ '^[1-9][0-9]{0,3}[mhdw]$') not valid;
alter table setting_fields
    add constraint setting_fields_key check (key ~ '^[^[:cntrl:]]{1,64}$' and key <> '$') not valid;
alter table hypertable_settings
    add constraint hypertable_settings_time_column check (time_column ~ '^[a-z_][a-z0-9_]*$') not valid;

comment on table setting_types is 'The kinds of settings document and where Redis keeps each: user:{okx_uid}:{redis_suffix}, as a hash or as one JSON string. A new kind is a new row: save_setting_type().';
comment on table setting_fields is 'The catalogue: the known keys of each setting type with type, default and limits. Changed by save_setting_field(); keys that are not listed are accepted as they come.';
comment on table hypertable_settings is 'How TimescaleDB keeps each table, where the server has it. Changed by save_hypertable_settings(); then run migrate (or arrange_hypertables()).';

-- Their results have another shape now, or they are gone.
drop function if exists user_setting_history(text, text, timestamptz, integer);
drop function if exists api_credentials_history(text);
drop function if exists erasure_lock();
