-- Setting types of which a user may have one document more for each symbol. In user_settings such a document is called
-- type:SYMBOL (docs/decisions/0032-symbols.md). And templates of one user.
-- depends: 0020_predecessors_values

alter table setting_types add column has_symbols boolean not null default false;
update setting_types set has_symbols = true where setting_type = 'dual_side';

comment on table setting_types is 'The kinds of settings document and where Redis keeps each: user:{okx_uid}:{redis_suffix}, of a symbol user:{okx_uid}:symbol:{symbol}:{redis_suffix}, as a hash or as one JSON string. A new kind is a new row: save_setting_type().';
comment on column setting_types.has_symbols is 'Whether a user may have a document of this type for each symbol, besides the own one: dual_side:BTC-USDT-SWAP.';
comment on column user_settings.setting_type is 'One of setting_types: the user''s own document; with a symbol (dual_side:BTC-USDT-SWAP) that of the symbol. Each has versions of its own.';

alter table setting_templates add column okx_uid text not null default '',
    add constraint setting_templates_okx_uid check (okx_uid ~ '^([0-9]{16,20})?$'),
    drop constraint setting_templates_pkey,
    add primary key (name, setting_type, okx_uid);
comment on table setting_templates is 'Named documents, one per name, setting type and owner, applied by apply_setting_template(). The name default is taken: it stands for the defaults of the catalogue.';
comment on column setting_templates.okx_uid is 'Whose own the template is: applied to that user only, and erased with the person. Empty: everybody''s.';

-- They take a symbol, or the owner of a template, now: the old signatures would stay beside the new ones.
drop function if exists get_user_settings(text, text);
drop function if exists find_users_by_setting(text, jsonb, text, integer);
drop function if exists upsert_user_setting(text, text, jsonb, integer);
drop function if exists patch_user_setting(text, text, jsonb, integer);
drop function if exists delete_user_setting(text, text, integer);
drop function if exists user_setting_history(text, text, timestamptz, integer);
drop function if exists user_setting_version(text, text, integer);
drop function if exists user_setting_at(text, text, timestamptz);
drop function if exists diff_user_setting(text, text, integer, integer);
drop function if exists rollback_user_setting(text, text, integer, integer);
drop function if exists restore_user_setting(text, text, integer);
drop function if exists apply_setting_template(text, text, text[], jsonb, boolean, boolean);
drop function if exists setting_template(text, text);
drop function if exists list_setting_templates(text);
drop function if exists save_setting_template(text, text, jsonb);
drop function if exists delete_setting_template(text, text);
drop function if exists save_setting_type(text, text, text);
