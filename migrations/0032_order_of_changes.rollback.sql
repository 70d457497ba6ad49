drop table change_feed;
alter table user_settings drop column saved_in;
