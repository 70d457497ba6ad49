-- What the last verify of all keys found, for `status`, alerts and whoever was asleep then.
-- depends: 0010_hypertables

create table mirror_verifications (
    is_last     boolean primary key default true,
    finished_at timestamptz not null,
    checked     bigint not null,
    findings    jsonb not null,
    repaired    bigint not null,
    constraint mirror_verifications_one_row check (is_last)
);

comment on table mirror_verifications is 'The outcome of the last verify of all keys: one row, or none before the first. Written by record_verification().';
comment on column mirror_verifications.findings is 'How many keys differed, by kind of finding; those mended since are counted, too.';
comment on column mirror_verifications.repaired is 'How many of them verify --repair mended.';

-- pending_keys() tells how long a key has waited, too.
drop function if exists pending_keys(text[], text[], integer, boolean);
