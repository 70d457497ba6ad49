"""Candles to save: a plain one, to be varied."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import Rows
from tests.helpers.sessions import Connection, fetch, one

BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
START = datetime(2026, 1, 1, tzinfo=UTC)
WIDTHS = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}  # minutes
UPSERT = "select * from upsert_candles(%s, %s, %s)"


def candle(minute: int = 0, symbol: str = BTC, **values: Any) -> dict[str, Any]:
    made = {"ts": (START + timedelta(minutes=minute)).isoformat(), "symbol": symbol}
    return {**made, "open": 2, "high": 4, "low": 1, "close": 3, "volume": 10, **values}


def upsert(db: Connection, *candles: dict[str, Any], timeframe: str = "1m", force: bool = False) -> tuple[int, ...]:
    """Save candles; return how many were inserted, replaced, unchanged."""
    return tuple(one(db, UPSERT, (timeframe, json.dumps(candles), force)).values())


def stored(db: Connection, timeframe: str = "1m") -> Rows:
    return fetch(db, f"select * from ohlcv_{timeframe} order by symbol, ts")
