-- The dirty set: what Redis may not have yet.
-- depends: 0002_settings

create table mirror_pending (
    owner      text not null,
    kind       text not null,
    version    integer not null,
    marked_at  timestamptz not null default now(),
    attempts   integer not null default 0,
    last_error text,
    primary key (owner, kind)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);

comment on table mirror_pending is 'Keys that changed in PostgreSQL and may be older in Redis: one row a key however many writes, marked in the writer''s transaction, deleted once Redis has that version.';
comment on column mirror_pending.owner is 'The identifier in the Redis key: an OKX UID, or a Telegram ID for kind telegram.';
comment on column mirror_pending.kind is 'A setting type, or user, telegram.';
comment on column mirror_pending.last_error is 'Why the relay set this key aside; null while it is waiting its turn.';
