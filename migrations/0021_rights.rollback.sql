drop table erasure_gate;
alter table timeframes drop constraint timeframes_name;
alter table setting_fields drop constraint setting_fields_key;
alter table hypertable_settings drop constraint hypertable_settings_time_column;
alter table setting_templates drop column written_by;
alter table okx_api_info drop column written_by;
alter table user_settings drop column written_by;
comment on column user_settings.changed_by is 'Who saved this version: the setting settings_store.actor, else the database user.';
