-- What saves documents tells which keys of the catalogue they lack: two functions return that, too.
-- depends: 0013_erasures
drop function if exists apply_setting_template(text, text, text[], jsonb, boolean, boolean);
drop function if exists import_users(jsonb, boolean);
