-- The release before brings its four triggers with its own sql/.
drop function if exists user_settings_changed() cascade;
