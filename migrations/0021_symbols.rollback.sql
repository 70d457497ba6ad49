-- Documents of symbols stay, with their history, and nothing reads them. A user's own templates are everybody's, as NAME@OKX_UID.
alter table setting_types drop column has_symbols;
comment on table setting_types is 'The kinds of settings document and where Redis keeps each: user:{okx_uid}:{redis_suffix}, as a hash or as one JSON string. A new kind is a new row: save_setting_type().';
comment on column user_settings.setting_type is null;
delete from mirror_pending where kind like '%:%';

alter table setting_templates disable trigger user;
update setting_templates set name = case when length(name) > 43 then md5(name) else name end || '@' || okx_uid where okx_uid <> '';
alter table setting_templates enable trigger user;
alter table setting_templates drop constraint setting_templates_pkey, add primary key (name, setting_type), drop column okx_uid;
comment on table setting_templates is 'Named documents, one per name and setting type, applied by apply_setting_template(). The name default is taken: it stands for the defaults of the catalogue.';

drop function if exists get_user_settings(text, text, text, boolean);
drop function if exists find_users_by_setting(text, jsonb, text, integer, text);
drop function if exists upsert_user_setting(text, text, jsonb, integer, text);
drop function if exists patch_user_setting(text, text, jsonb, integer, text);
drop function if exists delete_user_setting(text, text, integer, text);
drop function if exists user_setting_history(text, text, timestamptz, integer, text);
drop function if exists user_setting_version(text, text, integer, text);
drop function if exists user_setting_at(text, text, timestamptz, text);
drop function if exists diff_user_setting(text, text, integer, integer, text);
drop function if exists rollback_user_setting(text, text, integer, integer, text);
drop function if exists restore_user_setting(text, text, integer, text);
drop function if exists apply_setting_template(text, text, text[], jsonb, boolean, boolean, text, text);
drop function if exists setting_template(text, text, text);
drop function if exists list_setting_templates(text, text);
drop function if exists save_setting_template(text, text, jsonb, text);
drop function if exists delete_setting_template(text, text, text);
drop function if exists save_setting_type(text, text, text, boolean);
