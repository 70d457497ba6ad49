alter table setting_fields drop column is_hot;
drop table setting_locks;
