-- The kill switch: whose trading is halted, of which symbol, why and by whom; and who let it go on.
-- depends: 0027_descriptions_and_rules

create table trading_halts (
    id                uuid primary key default gen_random_uuid(),
    okx_uid           text,
    symbol            text,
    reason            text not null,
    halted_at         timestamptz not null default clock_timestamp(),
    halted_by         text not null,
    written_by        text not null default session_user,
    resumed_at        timestamptz,
    resumed_by        text,
    resume_reason     text,
    resume_written_by text,
    constraint trading_halts_okx_uid check (okx_uid ~ '^[0-9]{16,20}$'),
    constraint trading_halts_symbol check (length(symbol) between 3 and 64 and symbol ~ '^[A-Z0-9]+(-[A-Z0-9]+)+$'),
    constraint trading_halts_reason check (length(reason) between 1 and 1000 and length(resume_reason) between 1 and 1000
                                           and concat(reason, resume_reason) !~ '[[:cntrl:]]'),
    constraint trading_halts_resumed check (num_nulls(resumed_at, resumed_by, resume_reason, resume_written_by) in (0, 4))
);

create unique index trading_halts_in_force on trading_halts (coalesce(okx_uid, ''), coalesce(symbol, '')) where resumed_at is null;
create index trading_halts_by_user on trading_halts (okx_uid);

comment on table trading_halts is 'Every halt of trading there was, and who ended it. A row goes with the person only. Written by halt_trading() and resume_trading().';
comment on column trading_halts.okx_uid is 'Whose trading; null: everybody''s.';
comment on column trading_halts.symbol is 'Of which symbol, as BTC-USDT-SWAP; null: of all.';
comment on column trading_halts.halted_by is 'As the session said (settings_store.actor), else the login; resumed_by, too.';
comment on column trading_halts.written_by is 'The login; resume_written_by, too.';
comment on column trading_halts.resumed_at is 'Null: in force.';

create table halts_version (
    is_only    boolean primary key default true,
    version    integer not null default 1,
    updated_at timestamptz not null default clock_timestamp(),
    constraint halts_version_one_row check (is_only)
);

comment on table halts_version is 'The version of the one key that Redis has of all halts: one row, or none before the first halt. Written by a trigger on trading_halts.';

-- The key of the halts is made as a user's, of this OKX UID, which is nobody's: no exchange gives a UID of zeros.
alter table app_users add constraint app_users_is_somebody check (okx_uid <> '00000000000000000000') not valid;
