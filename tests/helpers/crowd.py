"""200,000 users, or TEST_USERS, with what belongs to them, put straight into the tables, as they are after years.

UUIDs and OKX UIDs are made of the user's number, so that nothing has to be looked up, and scattered, so that the place
of a row says nothing of its index entry's. No trigger fires, no foreign key is checked.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import md5

import psycopg

USERS = int(os.environ.get("TEST_USERS", "200000"))
TRADERS, TRADES = 2000, 200_000
SYMBOLS, MINUTES = 20, 10_000
MARKED = 2000
MANY_VERSIONS, VERSIONS = 1000, 10  # of user 0, and of the other users whose number ends in 00
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

_STEP, _PRIME = 387_420_489, 999_999_937  # n -> n * step mod prime: never the same twice


def okx_uid(number: int) -> str:
    return str(500_000_000_000_000_000 + number * _STEP % _PRIME)


def telegram_id(number: int) -> str:
    """Return the Telegram ID of a user; even numbers have one, which is linked."""
    return str(1_000_000_000 + number * _STEP % _PRIME)


def uuid(text: object) -> str:
    """Return a user's UUID by the number, or that of another row by its text in ROWS."""
    return md5(str(text).encode()).hexdigest()


# In two sessions at once, one for each half.
FILL = (
    ("user_settings",),
    (
        "app_users",
        "telegram_links",
        "okx_api_info",
        "mirror_pending",
        "trades",
        "trade_orders",
        "ohlcv_1m",
        "rollouts",
        "rollout_users",
    ),
)
ROWS = {
    # All have `params`, some a second document; older versions: see VERSIONS.
    "user_settings": f"""
        (id, user_id, okx_uid, setting_type, settings, version, is_active, updated_at)
        select md5(n || t.setting_type || v)::uuid, md5(n::text)::uuid, pg_temp.okx_uid(n), t.setting_type,
               jsonb_build_object('leverage', 1 + (n + v) % 125, 'btc_investment', n + v), v, v = t.versions,
               '{BEGIN}'::timestamptz + v * interval '1 minute' + n * interval '1 microsecond'
          from generate_series(0, {USERS - 1}) n
         cross join lateral (values ('params', case when n = 0 then {MANY_VERSIONS}
                                                    when n % 100 = 0 then {VERSIONS} else 1 end),
                                    ('preferences', case when n % 10 = 0 then 1 else 0 end),
                                    ('dual_side', case when n % 20 = 1 then 1 else 0 end)) t (setting_type, versions)
         cross join lateral generate_series(1, t.versions) v""",
    "app_users": f"""
        (id, okx_uid, telegram_id, name, deleted_at)
        select md5(n::text)::uuid, pg_temp.okx_uid(n), case when n % 2 = 0 then pg_temp.telegram_id(n) end, 'Kim ' || n,
               case when n % 100 = 99 then now() end
          from generate_series(0, {USERS - 1}) n""",
    "telegram_links": f"""
        (telegram_id, okx_uid, last_okx_uid)
        select pg_temp.telegram_id(n), pg_temp.okx_uid(n), pg_temp.okx_uid(n)
          from generate_series(0, {USERS - 1}, 2) n""",
    "okx_api_info": f"""
        (id, user_id, okx_uid, api_key, api_secret, passphrase)
        select md5('api' || n)::uuid, md5(n::text)::uuid, pg_temp.okx_uid(n), s, s, s
          from generate_series(0, {USERS - 1}, 4) n, lateral (select 'v1.01234567.' || md5(n::text)) _ (s)""",
    "mirror_pending": f"""
        (owner, kind, version, last_error)
        select pg_temp.okx_uid(n), 'params', 1, case when n % 100 = 0 then 'refused' end
          from generate_series(0, {MARKED - 1}) n""",
    "trades": f"""
        (id, user_id, okx_uid, symbol, side, entry_time, entry_price, entry_size, exit_time, exit_price, exit_size,
         realized_pnl, exit_order_id, params_version)
        select md5('trade' || n)::uuid, md5((n % {TRADERS})::text)::uuid, pg_temp.okx_uid(n % {TRADERS}),
               (array['BTC', 'ETH', 'SOL'])[1 + n % 3] || '-USDT-SWAP', 'long', t, 100, 1,
               t + interval '1 hour', 101, 1, 1, n, 1
          from generate_series(0, {TRADES - 1}) n,
               lateral (select '{BEGIN}'::timestamptz + n * interval '2 minutes') _ (t)""",
    "trade_orders": """
        (user_id, exit_order_id, trade_id, exit_time) select user_id, exit_order_id, id, exit_time from trades""",
    # One that half of everybody has, and that goes on; of another the trades of 2000 users are to be looked at.
    "rollouts": f"""
        (name, template, setting_type, settings, filter, steps, control, minimum_trades, guard, on_worse, changed_by,
         step, given_at, next_look_at, state)
        select name, 'careful', 'params', jsonb_build_object(name, 1), '{{}}', '{{50,90}}', 10, 100, 'drawdown',
               'pause', 'ops', step, '{BEGIN}'::timestamptz + ago * interval '2 minutes', '-infinity', state
          from (values ('going', 2, null, 'running'), ('paused', 1, null, 'paused'),
                       ('watched', 1, {TRADES - 3000}, 'running')) r (name, step, ago, state)""",
    "rollout_users": f"""
        (rollout, user_id, okx_uid, bucket, version, before, after)
        select name, md5(n::text)::uuid, pg_temp.okx_uid(n), n % 10000, case when n % 10000 < 5000 then 1 end, '{{}}',
               '{{"leverage": 3}}'
          from (values ('going', {USERS}), ('watched', {TRADERS})) r (name, users)
         cross join generate_series(0, r.users - 1) n""",
    "ohlcv_1m": f"""
        (ts, symbol, open, high, low, close, volume)
        select '{BEGIN}'::timestamptz + n * interval '1 minute', s || '-USDT-SWAP', 100, 101, 99, 100, 1
          from generate_series(0, {MINUTES - 1}) n, generate_series(1, {SYMBOLS}) s""",
}  # fmt: skip

SETTINGS = "set session_replication_role = replica; set synchronous_commit = off; set maintenance_work_mem = '256MB'"
FUNCTIONS = f"""
create function pg_temp.okx_uid(n bigint) returns text language sql immutable
    return (500000000000000000 + n * {_STEP} % {_PRIME})::text;
create function pg_temp.telegram_id(n bigint) returns text language sql immutable
    return (1000000000 + n * {_STEP} % {_PRIME})::text
"""
INDEXES = """
select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) from pg_index i
 where i.indrelid = %s::regclass and not i.indisunique
"""


def fill(url: str) -> None:
    """Fill an empty, migrated database, and tell the planner what is in it. As a superuser."""
    with ThreadPoolExecutor(len(FILL)) as pool:
        list(pool.map(lambda tables: _fill(url, tables), FILL))


def _fill(url: str, tables: tuple[str, ...]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SETTINGS)
        connection.execute(FUNCTIONS.encode())
        for table in tables:
            indexes = connection.execute(INDEXES, (table,)).fetchall() if table == "user_settings" else []
            for name, _ in indexes:  # made anew they take a fraction of the time
                connection.execute(f"drop index {name}".encode())
            connection.execute(f"insert into {table} {ROWS[table]}".encode())
            for _, definition in indexes:
                connection.execute(definition.encode())
            connection.execute(f"analyze {table}".encode())
