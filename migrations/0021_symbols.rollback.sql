-- Documents of symbols stay, with their history, and nothing reads them.
alter table setting_types drop column has_symbols;
comment on table setting_types is 'The kinds of settings document and where Redis keeps each: user:{okx_uid}:{redis_suffix}, as a hash or as one JSON string. A new kind is a new row: save_setting_type().';
comment on column user_settings.setting_type is null;
delete from mirror_pending where kind like '%:%';

drop function if exists get_user_settings(text, text, text);
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
drop function if exists apply_setting_template(text, text, text[], jsonb, boolean, boolean, text);
drop function if exists save_setting_type(text, text, text, boolean);
