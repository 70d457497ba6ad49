"""Trades to record: a plain one, to be varied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, one

T0 = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
RECORD = "select * from record_trade(%s, %s)"
RECORD_ALL = "select * from record_trades(%s)"


def trade(number: int = 1, **columns: Any) -> dict[str, Any]:
    """A trade closed by the order of this number, in that hour after T0."""
    return {
        "symbol": "BTC-USDT-SWAP", "side": "long",
        "entry_time": (T0 + (number - 1) * HOUR).isoformat(), "entry_price": "97000.1", "entry_size": 1,
        "exit_time": (T0 + number * HOUR).isoformat(), "exit_price": 97500, "exit_size": "1",
        "realized_pnl": "4.999", "exit_order_id": str(number), **columns,
    }  # fmt: skip


def record(db: Connection, given: Mapping[str, Any], uid: str = OKX_UID) -> dict[str, Any]:
    """Record a trade; return its row."""
    return one(db, RECORD, (uid, json.dumps(given)))


def array(*given: Mapping[str, Any], uid: str = OKX_UID) -> str:
    """Trades of a user, as record_trades() takes them."""
    return json.dumps([{"okx_uid": uid, **each} for each in given])
