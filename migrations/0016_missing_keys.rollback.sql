-- The release before brings its own of these with its sql/.
drop function if exists apply_setting_template(text, text, text[], jsonb, boolean, boolean);
drop function if exists import_users(jsonb, boolean);
