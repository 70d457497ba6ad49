-- What tells that PostgreSQL or Redis went back to an earlier state under the same name: a word that both remember, another one
-- every second in which something was saved. Unlogged: empty after a crash, a promotion or a restore, and so it tells of these, too.
-- depends: 0022_integers

create unlogged table mirror_epochs (
    is_only     boolean primary key default true,
    origin      text not null,
    epoch       text,
    next_epoch  text,
    quiet_until xid8 not null default '0',
    constraint mirror_epochs_one_row check (is_only)
);

comment on table mirror_epochs is 'By which words the relay knows that Redis and PostgreSQL are those of its last look, and at no earlier state: one row, or none before the first reconciliation and after a crash, promotion or restore. Written by begin_epoch() and end_epoch().';
comment on column mirror_epochs.origin is 'Made with the row, at random: another one after each crash, promotion or restore.';
comment on column mirror_epochs.epoch is 'The word that Redis has; null before the first reconciliation.';
comment on column mirror_epochs.next_epoch is 'The word that Redis is about to get, or has already; null between.';
comment on column mirror_epochs.quiet_until is 'Nothing was saved since the last turn for as long as no later transaction than this has begun.';
