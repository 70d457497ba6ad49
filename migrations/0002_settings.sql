-- Setting types, their catalogue of fields, and the versioned documents.
-- depends: 0001_users

create table setting_types (
    setting_type   text primary key,
    redis_suffix   text not null,
    redis_encoding text not null,
    constraint setting_types_name check (setting_type ~ '^[a-z][a-z0-9_]{0,62}$'),
    constraint setting_types_name_is_free check (setting_type not in ('user', 'telegram', 'telegram_id', 'api_keys')),
    constraint setting_types_redis_suffix_unique unique (redis_suffix),
    constraint setting_types_redis_suffix check (redis_suffix ~ '^[a-z][a-z0-9_:]{0,62}$'),
    constraint setting_types_redis_suffix_is_free check (redis_suffix not in ('mirror', 'okx_uid', 'api:keys')),
    constraint setting_types_redis_encoding check (redis_encoding in ('hash', 'json'))
);

insert into setting_types (setting_type, redis_suffix, redis_encoding) values
    ('preferences', 'preferences', 'hash'),
    ('params', 'settings', 'json'),
    ('dual_side', 'dual_side', 'hash');

create table setting_fields (
    setting_type  text not null references setting_types on delete cascade,
    key           text not null,
    json_type     text not null,
    is_nullable   boolean not null default false,
    default_value jsonb,
    minimum       numeric,
    maximum       numeric,
    choices       text[],
    is_secret     boolean not null default false,
    primary key (setting_type, key),
    constraint setting_fields_json_type check (json_type in ('string', 'number', 'integer', 'boolean', 'object', 'array')),
    constraint setting_fields_range check (minimum <= maximum),
    constraint setting_fields_range_of_numbers check (coalesce(minimum, maximum) is null or json_type in ('number', 'integer')),
    constraint setting_fields_choices_of_strings check (choices is null or json_type = 'string')
);

create table user_settings (
    id            uuid primary key default gen_random_uuid(),
    user_id       uuid not null references app_users,
    okx_uid       text not null,
    telegram_id   text,
    setting_type  text not null,    -- one of setting_types: see the trigger setting_types_in_use
    settings      jsonb not null,
    version       integer not null default 1,
    is_active     boolean not null default true,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    deleted_at    timestamptz,
    changed_by    text not null default session_user,
    change_reason text,
    constraint user_settings_version_unique unique (user_id, setting_type, version),
    constraint user_settings_version_positive check (version > 0),
    constraint user_settings_is_object check (jsonb_typeof(settings) = 'object')
);

create unique index idx_user_settings_unique_active on user_settings (user_id, setting_type) where is_active;
create index idx_user_settings_user_id on user_settings (user_id) where is_active;
create index idx_user_settings_okx_uid on user_settings (okx_uid) where is_active;
create index idx_user_settings_telegram_id on user_settings (telegram_id) where is_active;
create index idx_user_settings_type on user_settings (setting_type) where is_active;
create index idx_user_settings_jsonb on user_settings using gin (settings jsonb_path_ops) where is_active;

comment on table setting_types is 'The kinds of settings document and where Redis keeps each: user:{okx_uid}:{redis_suffix}, as a hash or as one JSON string. A new kind is a new row.';
comment on table setting_fields is 'The catalogue: the known keys of each setting type with type, default and limits. Operators may change rows; keys that are not listed are accepted as they come.';
comment on table user_settings is 'Every version of every settings document. The active row is the newest; a change archives the old value as an inactive row, which never changes again. Written through upsert_user_setting() or a plain update: triggers keep the versions.';
comment on column user_settings.version is 'Counts from 1 per user and setting type, without gaps, never reused.';
comment on column user_settings.updated_at is 'When this version was saved. It was in force until the next version''s updated_at.';
comment on column user_settings.deleted_at is 'Set on a version that is a deletion: from it on, the user has no such settings.';
comment on column user_settings.changed_by is 'Who saved this version: the setting settings_store.actor, else the database user.';
