"""A crowd of users with params, who trade, and a rollout whose first step they have."""

from __future__ import annotations

import pytest

from tests.helpers.sessions import Connection, Parameters, fetch

CROWD = """
    with made as (
        insert into app_users (okx_uid) select (1000000000000000 + n)::text from generate_series(1, {users}) n
        returning id, okx_uid
    )
    insert into user_settings (user_id, okx_uid, setting_type, settings)
    select id, okx_uid, 'params', '{{"leverage": 20, "note": "own"}}' from made
"""
# As they come: each user has a hand of his own, and luck with each trade; the deviations are 2 and 5.
TRADES = """
    insert into trades (user_id, okx_uid, symbol, side, entry_time, entry_price, entry_size, exit_time, exit_price,
                        exit_size, realized_pnl, exit_order_id, currency, params_version)
    select m.user_id, m.okx_uid, 'BTC-USDT-SWAP', 'long', r.given_at + '1 minute', 1, 1,
           r.given_at + n * '1 minute'::interval, 1, 1,
           round((1 + case when m.version is not null then %(effect)s else 0 end
                        + 7 * (uniform(m.okx_uid || %(seed)s) - 0.5)
                        + 17 * (uniform(m.okx_uid || n || %(seed)s) - 0.5))::numeric, 4), n || %(seed)s, 'USDT',
           coalesce(m.version, 1)
      from rollouts r
      join rollout_users m on m.rollout = r.name
     cross join generate_series(2, 1 + %(each)s) n
     where r.name = %(name)s
"""
UNIFORM = "(hashtextextended({}, 0) & 65535) / 65536.0"


def crowd(db: Connection, users: int) -> None:
    """Make users with small params, and the template careful: leverage 3."""
    in_a_hurry(db, CROWD.format(users=users))
    fetch(db, "select from save_setting_template('careful', 'params', '{\"leverage\": 3}')")


def trade(db: Connection, effect: float, each: int = 3, name: str = "first", seed: str = "a") -> None:
    """Have each user of a rollout close some trades, and whoever has it earn so much more with each. Days go by."""
    fetch(db, "update rollouts set given_at = given_at - interval '1 day' where name = %s", (name,))
    query = TRADES
    for text in ("m.okx_uid || %(seed)s", "m.okx_uid || n || %(seed)s"):
        query = query.replace(f"uniform({text})", UNIFORM.format(text))
    in_a_hurry(db, query, {"effect": effect, "each": each, "name": name, "seed": seed})
    look_again(db)


def in_a_hurry(db: Connection, query: str, parameters: Parameters = ()) -> None:
    """Run a statement without triggers and foreign keys."""
    fetch(db, "set session_replication_role = replica")
    fetch(db, query, parameters)
    fetch(db, "reset session_replication_role")


def look_again(db: Connection) -> None:
    """Let the minutes until the next look be over."""
    fetch(db, "update rollouts set next_look_at = '-infinity' where next_look_at is not null")


@pytest.fixture
def users(db: Connection) -> int:
    crowd(db, 40)
    return 40
