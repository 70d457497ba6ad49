drop table setting_rules;
alter table setting_fields drop column description, drop column description_ko;
