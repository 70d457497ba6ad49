-- What a new version brings about is one trigger, user_settings_changed (sql/triggers/); the four before it go.
-- depends: 0010_hypertables
drop function if exists user_settings_archive() cascade;
drop function if exists user_settings_owner() cascade;
drop function if exists user_settings_validate() cascade;
drop function if exists user_settings_mark() cascade;
