drop table user_settings;
drop table setting_fields;
drop table setting_types;
