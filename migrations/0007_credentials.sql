-- API credentials of the exchange, ciphertext only, versioned like settings.
-- depends: 0006_erasure

create table okx_api_info (
    id            uuid primary key default gen_random_uuid(),
    user_id       uuid not null references app_users,
    okx_uid       text not null,
    api_key       text,
    api_secret    text,
    passphrase    text,
    version       integer not null default 1,
    is_active     boolean not null default true,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    deleted_at    timestamptz,
    changed_by    text not null default session_user,
    change_reason text,
    constraint okx_api_info_version_unique unique (user_id, version),
    constraint okx_api_info_version_positive check (version > 0),
    constraint okx_api_info_complete check (num_nulls(api_key, api_secret, passphrase) = case when deleted_at is null then 0 else 3 end),
    constraint okx_api_info_ciphertext check (concat_ws(' ', api_key, api_secret, passphrase) ~ '^(v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+( |$))*$')
);

create unique index idx_okx_api_info_unique_active on okx_api_info (user_id) where is_active;
create index idx_okx_api_info_okx_uid on okx_api_info (okx_uid);

create table trigger_permits (
    permit text not null,
    id     uuid
);

comment on table okx_api_info is 'Every version of every user''s API credentials, encrypted by the store (AES-256-GCM, bound to OKX UID and field). The active row is the newest; a change archives the old one. Written through save_api_credentials().';
comment on column okx_api_info.api_key is 'v1.<id of the encryption key>.<nonce, ciphertext, tag>; so are api_secret and passphrase.';
comment on column okx_api_info.deleted_at is 'Set on a version that is a deletion; it has no credentials.';
comment on table trigger_permits is 'What a function lets a trigger let pass, within its own transaction; empty to everybody else. A table, as nobody but its owner can write it: a session setting, anybody could set.';
