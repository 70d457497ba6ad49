-- Users, their Telegram links, and the record of which sql/ file made which object.
-- depends:

create table app_users (
    id                uuid primary key default gen_random_uuid(),
    okx_uid           text not null,
    telegram_id       text,
    name              text,
    telegram_username text,
    version           integer not null default 1,
    created_at        timestamptz not null default now(),
    updated_at        timestamptz not null default now(),
    deleted_at        timestamptz,
    constraint app_users_okx_uid_unique unique (okx_uid),
    constraint app_users_okx_uid_digits check (okx_uid ~ '^[0-9]{16,20}$'),
    constraint app_users_telegram_id_digits check (telegram_id ~ '^[0-9]{5,15}$')
);

create unique index app_users_telegram_id_unique on app_users (telegram_id)
    where deleted_at is null and telegram_id is not null;

create table telegram_links (
    telegram_id text primary key,
    okx_uid     text,
    version     integer not null default 1,
    updated_at  timestamptz not null default now()
);

create table schema_objects (
    file            text primary key,
    file_hash       text not null,
    definition_hash text not null,
    applied_at      timestamptz not null default now()
);

comment on table app_users is 'One row per person. An OKX UID (16-20 digits) never changes; a Telegram ID (5-15 digits) may be linked and unlinked. deleted_at: soft delete.';
comment on column app_users.version is 'Raised by every change that Redis mirrors (Telegram link, deletion).';
comment on table telegram_links is 'The newest state of every Telegram ID ever linked: whom it leads to (okx_uid null: nobody), and the version Redis is guarded by. Kept by a trigger on app_users.';
comment on table schema_objects is 'Which file of sql/ was applied, and what the object looked like right after, so that `status` can tell drift.';
