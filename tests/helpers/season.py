"""A season of trading to draw: candles of a random walk with a gap, trades upon them, and the settings they were made
under, changed now and then."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from store import Candle, SettingsStore
from tests.helpers.past import move
from tests.helpers.sessions import Connection

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 2400  # a hundred days
GAP = range(2260, 2284)  # hours without a candle
BTC = "BTC-USDT-SWAP"
CHANGES: Sequence[tuple[int, dict[str, Any], str]] = (
    (500, {"leverage": 20, "direction": "롱"}, "추세장 대응"),
    (1100, {"leverage": 5, "signal_bot_token": "0123456789"}, "위험을 줄임"),
    (1800, {"leverage": 10, "tp1_value": 2.5, "rsi_length": 21}, "back to ten"),
)


def candles(symbol: str = BTC) -> list[Candle]:
    """Candles of 1h; those of the gap aren't there."""
    dice, price, made = random.Random(11), 97000.0, []
    for hour in range(HOURS):
        last, price = price, price * (1 + dice.gauss(0.00002, 0.004))
        high, low = max(last, price) * (1 + dice.random() * 0.002), min(last, price) * (1 - dice.random() * 0.002)
        start, top, bottom, end = (Decimal(f"{value:.1f}") for value in (last, high, low, price))
        if hour not in GAP:
            made.append(Candle(BEGIN + hour * HOUR, symbol, start, top, bottom, end, Decimal(1000)))
    return made


def trades(uid: str, count: int = 300, symbol: str = BTC, **columns: Any) -> list[dict[str, Any]]:
    """Trades at the closes of candles, made under the version in force then."""
    dice, closes, made = random.Random(5), candles(symbol), []
    for number in range(count):
        entered = len(closes) * number // count
        left = min(entered + dice.randint(2, 20), len(closes) - 1)
        entry, exit_ = closes[entered], closes[left]
        side = "long" if dice.random() < 0.5 + (exit_.close - entry.close > 0) * 0.15 else "short"
        size = Decimal("0.05")
        pnl = (exit_.close - entry.close) * size * (1 if side == "long" else -1)
        made.append({
            "okx_uid": uid, "symbol": symbol, "side": side, "entry_time": entry.ts + HOUR, "entry_price": entry.close,
            "entry_size": size, "exit_time": exit_.ts + HOUR, "exit_price": exit_.close, "exit_size": size,
            "realized_pnl": pnl, "entry_fee": "0.9", "exit_fee": "0.9", "close_type": "tp1" if pnl > 0 else "sl",
            "exit_order_id": f"{symbol}-{number}", "currency": "USDT", "funding_fee": "0.12",
            "params_version": 1 + sum(entry.ts > BEGIN + hour * HOUR for hour, _, _ in CHANGES), **columns,
        })  # fmt: skip
    return made


async def season(store: SettingsStore, db: Connection, uid: str) -> None:
    """Let a registered user have traded a season."""
    async with store.acting_as("운영자"):
        for _, changed, reason in CHANGES:
            await store.patch(uid, "params", changed, reason=reason)
        await store.patch(uid, "dual_side", {"dual_side_entry_trigger": 4}, symbol=BTC)
    hours = (-24, *(hour for hour, _, _ in CHANGES))
    move(db, uid, "params", {place: BEGIN + hour * HOUR for place, hour in enumerate(hours, 1)})
    move(db, uid, f"dual_side:{BTC}", {1: BEGIN + 1400 * HOUR})
    await store.upsert_candles("1h", candles())
    await store.record_trades(trades(uid))
