drop table setting_templates;
