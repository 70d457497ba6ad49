-- Keys of settings that nobody may change for a while; and keys that may only be changed while the bot is stopped.
-- depends: 0027_descriptions_and_rules

create table setting_locks (
    okx_uid      text not null,
    setting_type text not null,
    key          text not null,
    is_cold      boolean not null default false,
    reason       text not null,
    until        timestamptz,
    locked_at    timestamptz not null default clock_timestamp(),
    locked_by    text not null,
    written_by   text not null default session_user,
    primary key (okx_uid, setting_type, key, is_cold),
    constraint setting_locks_okx_uid check (okx_uid ~ '^([0-9]{16,20})?$'),
    constraint setting_locks_key check (length(key) <= 200),
    constraint setting_locks_reason check (length(reason) between 1 and 1000 and reason !~ '[[:cntrl:]]'),
    constraint setting_locks_of_a_bot_ends check (until is not null or not is_cold)
);

comment on table setting_locks is 'Keys of settings that may not be changed (US013, by the trigger user_settings_version), one row a key. Written by lock_setting() and lock_cold_keys(); unlock_setting() and unlock_cold_keys() remove them.';
comment on column setting_locks.okx_uid is 'Whose; empty: everybody''s.';
comment on column setting_locks.setting_type is 'Of a type: the documents of its symbols, too. Of a symbol''s document (dual_side:BTC-USDT-SWAP): that one.';
comment on column setting_locks.key is 'Empty: the whole document.';
comment on column setting_locks.is_cold is 'Made by a bot that runs: lock_cold_keys().';
comment on column setting_locks.until is 'It holds until then; null: until it is removed.';
comment on column setting_locks.locked_by is 'As the session said (settings_store.actor), else the login.';

-- Without a default, as in 0027.
alter table setting_fields add column is_hot boolean;
comment on column setting_fields.is_hot is 'False: changeable only while the bot is stopped, see lock_cold_keys(). Null or true: at any time.';

-- It takes more now.
drop function if exists save_setting_field(text, text, text, jsonb, numeric, numeric, text[], boolean, boolean, text, text);
