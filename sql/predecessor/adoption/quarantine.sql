-- Where it is told what an adoption couldn't take, and kept what a rollback will ask for.
set local timezone = 'UTC';    -- times without a zone are UTC

create table if not exists predecessor.quarantine (
    table_name text not null,
    id         text,
    is_taken   boolean not null,
    reason     text not null,
    row_data   jsonb
);
comment on table predecessor.quarantine is 'What `migrate` couldn''t take over of the tables beside it, row by row, and why. is_taken: the row was taken, but for what the reason says. Keys of the exchange are left out of row_data.';

create table if not exists predecessor.taken (
    table_name text not null,
    id         uuid not null,
    row_data   jsonb not null,
    primary key (table_name, id)
);
comment on table predecessor.taken is 'The store''s rows as they were when the tables beside it had been taken over, without documents and keys: `migrate rollback --all` carries back what changed since.';

create table if not exists predecessor.kept (
    table_name text not null,
    id         uuid not null,
    digest     text,
    row_data   jsonb not null,
    primary key (table_name, id)
);
comment on table predecessor.kept is 'What the older tables have no columns for, of a database that was adopted and rolled back: numbers, authors and reasons of the versions, for `migrate` to find again. digest: of the row it belongs to, null if only the store had it. Stays after a rollback; of no use to old code.';

create table if not exists predecessor.sealed (
    is_sealed boolean primary key default true,
    since     timestamptz not null default now()
);
comment on table predecessor.sealed is 'A row once the API keys were encrypted, by `migrate` or `keys encrypt-existing`: from then on the relay encrypts what old code writes in plain text.';
