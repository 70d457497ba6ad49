drop table schema_objects;
drop table telegram_links;
drop table app_users;
