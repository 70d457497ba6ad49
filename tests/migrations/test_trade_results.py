"""Trades recorded before funding fees and currencies stay what they were, there and back; on TimescaleDB, too."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from store.postgres import migrate
from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, fetch, one, refused
from tests.helpers.trades import RECORD_ALL, array, record, trade
from tests.migrations.test_migrate import IDS

AFTER = len(IDS) - IDS.index("0024_trade_results")
TRADES = "select * from trades order by exit_time"
OLD = """
    insert into trades (user_id, okx_uid, symbol, side, entry_time, entry_price, entry_size, exit_time, exit_price,
                        exit_size, entry_fee, exit_fee, realized_pnl, exit_order_id, extra)
    select id, okx_uid, 'ETH', 'short', now(), 1, 1, now(), 1, 1, 0.5, -0.1, 7, 'old', '{"a": 1}' from app_users
    returning *"""


def without(row: dict[str, Any], *columns: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in columns}


def test_trades_go_there_and_back(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        db: Connection = connection
        fetch(db, "select from ensure_user(%s)", (OKX_UID,))
        told = [trade(1, funding_fee="0.50", currency="USDT", extra={"a": 1}), trade(2, funding_fee=-1), trade(3)]
        fetch(db, RECORD_ALL, (array(*told),))
        rows = fetch(db, TRADES)

        migrate.rollback(database_url, AFTER)
        back = fetch(db, TRADES)
        assert [row["extra"] for row in back] == [
            {"a": 1, "funding_fee": 0.5, "currency": "USDT"}, {"funding_fee": -1}, {}
        ]  # fmt: skip
        assert [row["net_pnl"] for row in back] == [Decimal("4.999")] * 3
        ours = ("funding_fee", "currency", "net_pnl", "extra")
        assert [without(row, "net_pnl", "extra") for row in back] == [without(row, *ours) for row in rows]

        old = one(db, OLD)
        assert migrate.migrate(database_url) == IDS[-AFTER:]
        assert migrate.status(database_url).is_current
        expected = {**old, "funding_fee": None, "currency": None, "net_pnl": Decimal("6.6")}
        assert one(db, "select * from trades where exit_order_id = 'old'") == expected
        with refused("US005"):
            fetch(db, "update trades set net_pnl = default")
        assert record(db, json.loads(json.dumps(expected | {"currency": "BTC"}, default=str)))["currency"] == "BTC"
        assert one(db, "select net_pnl, currency from trade_statistics(p_currency => 'BTC')") == {
            "net_pnl": Decimal("6.6"), "currency": "BTC"
        }  # fmt: skip
