-- Named documents to apply to many users.
-- depends: 0004_mirror

create table setting_templates (
    name         text not null,
    setting_type text not null references setting_types,
    settings     jsonb not null,
    changed_by   text not null default session_user,
    updated_at   timestamptz not null default now(),
    primary key (name, setting_type),
    constraint setting_templates_name check (name ~ '^[^[:space:][:cntrl:]]{1,64}$'),
    constraint setting_templates_name_is_free check (name <> 'default'),
    constraint setting_templates_is_object check (jsonb_typeof(settings) = 'object')
);

comment on table setting_templates is 'Named documents, one per name and setting type, applied by apply_setting_template(). The name default is taken: it stands for the defaults of the catalogue.';

-- It takes a template now: the old signature would stay beside the new one.
drop function if exists register_user(text, text, text, text, jsonb);
