-- 300 users of the predecessor, with its index as it was meant, and every oddity that its users' databases have; by the number n:
-- who has no Telegram ID, or only in another column, who shares it, has no OKX UID, that of another, was deleted; keys rotated,
-- deleted, half of them, none, no row at all; numbers and booleans as text, documents deleted, of no known type, no objects.
create unique index idx_user_settings_unique_active on user_settings (user_id, setting_type) where deleted_at is null and is_active;

create function crowd_id(n integer, kind text) returns uuid language sql immutable return md5(kind || n)::uuid;

insert into app_users (id, email, name, okx_uid, okx_linked, telegram_linked, telegram_id, telegram_userid, has_analytics_access, is_active,
                       created_at, updated_at, deleted_at)
select crowd_id(n, 'user'), format('user%s@example.com', n), 'User ' || n,
       case when n % 29 = 0 then null when n % 31 = 0 then 100000000000000000 + n - 1 else 100000000000000000 + n end::text, n % 29 > 0,
       n % 10 > 3,
       case when n % 10 > 3 then case when n % 37 = 0 then 1000000 + n - 2 else 1000000 + n end end::text,
       case when n % 10 in (2, 5, 6) then (1000000 + n)::text end, n % 2 = 0, n % 17 > 0,
       '2025-01-01', timestamp '2025-02-01' + n * interval '1 minute' - case when n % 31 = 0 then interval '1 day' else '0' end,
       case when n % 17 = 0 then '2025-03-01'::timestamptz end
  from generate_series(1, 300) n;

insert into okx_api_info (id, user_id, okx_uid, api_key, api_secret, passphrase, telegram_id, telegram_linked, okx_linked, is_active,
                          created_at, updated_at, deleted_at)
select crowd_id(n, 'api' || nth), crowd_id(n, 'user'), case when n % 29 > 0 then (100000000000000000 + n - (n % 31 = 0)::integer)::text end,
       case when n % 7 > 0 then format('key-%s-%s', n, nth) end, case when n % 7 > 0 then format('secret-%s-%s', n, nth) end,
       case when n % 7 > 0 and n % 11 > 0 then format('pass-%s-%s', n, nth) end,
       case when n % 10 >= 3 then (1000000 + n)::text end, n % 10 >= 3, true, nth = 3 and n % 13 > 0,
       '2025-01-01', timestamptz '2025-01-10' + nth * interval '1 day',
       case when nth < 3 or n % 13 = 0 then timestamptz '2025-01-11' + nth * interval '1 day' end
  from generate_series(1, 300) n
 cross join generate_series(1, 3) nth
 where n % 19 > 0 and (nth = 3 or n % 3 = 0);

insert into user_settings (id, user_id, okx_uid, telegram_id, setting_type, settings, version, is_active, created_at, updated_at, deleted_at)
select crowd_id(n, t.type || nth), crowd_id(n, 'user'), (100000000000000000 + n)::text, null, t.type,
       case when t.type = 'params' and n % 5 = 0 then jsonb_build_object('leverage', (nth + 5)::text, 'use_sl', 'True', 'note', n::text)
            when t.type = 'params' then jsonb_build_object('leverage', nth + 5, 'note', n::text)
            when t.type = 'dual_side' and n % 4 = 0 then '{"use_dual_side_entry": "false", "dual_side_entry_ratio_value": "30.5"}'
            when t.type = 'dual_side' then '{"use_dual_side_entry": true}'
            when t.type = 'preferences' and n % 41 = 0 then '["junk"]'
            else jsonb_build_object('symbol', 'ETH-USDT-SWAP', 'nth', nth) end,
       nth, nth = 2, '2025-01-01', timestamptz '2025-01-20' + nth * interval '1 hour', case when n % 23 = 0 then timestamptz '2025-02-10' end
  from generate_series(1, 300) n
 cross join unnest(array['preferences', 'params', 'dual_side', 'alerts']) t (type)
 cross join generate_series(1, 2) nth
 where (t.type <> 'alerts' or n % 43 = 0) and (t.type <> 'dual_side' or n % 6 > 0) and (nth = 2 or n % 2 = 0);

create table hyperrsi_trades (
    id bigserial primary key, okx_uid varchar(50) not null, symbol varchar(50) not null, side varchar(10) not null,
    entry_time timestamptz not null, entry_price numeric(20, 8) not null, entry_size numeric(20, 8) not null,
    exit_time timestamptz not null, exit_price numeric(20, 8) not null, exit_size numeric(20, 8) not null,
    close_type varchar(30) not null, leverage integer not null default 1, dca_count integer not null default 0,
    realized_pnl numeric(20, 8) not null, realized_pnl_percent numeric(10, 4) not null,
    entry_fee numeric(20, 8) not null default 0, exit_fee numeric(20, 8) not null default 0,
    net_pnl numeric(20, 8) generated always as (realized_pnl - entry_fee - exit_fee) stored,
    session_id integer, entry_order_id varchar(100), exit_order_id varchar(100), extra_data jsonb default '{}',
    created_at timestamptz not null default now()
);
insert into hyperrsi_trades (okx_uid, symbol, side, entry_time, entry_price, entry_size, exit_time, exit_price, exit_size, close_type,
                             realized_pnl, realized_pnl_percent, exit_order_id, session_id)
select '100000000000000001', 'BTC-USDT-SWAP', 'long', '2025-02-01', 97000, 1, '2025-02-02', 97100, 1, 'tp1', 100, 1.5,
       case when n > 1 then 'order-' || n end, n
  from generate_series(1, 3) n;
create table btc_usdt (
    time timestamptz not null, timeframe varchar(10) not null, open numeric(20, 8), high numeric(20, 8), low numeric(20, 8),
    close numeric(20, 8), volume numeric(30, 8), rsi14 numeric(10, 4), primary key (time, timeframe)
);
insert into btc_usdt values ('2025-02-01 00:00Z', '1h', 2, 4, 1, 3, 9, 50), ('2025-02-01 01:00Z', '1h', 3, 4, 1, 3, 9, 51),
                            ('2025-02-01 00:00Z', '15m', 2, 4, 1, 3, 9, 49);
