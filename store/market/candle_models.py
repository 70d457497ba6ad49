"""The shapes of candles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices and volume of a symbol from `ts` on, for the time of a timeframe. `complete`: finished, and final."""

    ts: datetime
    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Gap:
    """Candles that aren't there: `missing` of them, the first at `from_ts`, the last before `to_ts`."""

    from_ts: datetime
    to_ts: datetime
    missing: int


@dataclass(frozen=True, slots=True)
class Written:
    """What became of candles that were given."""

    inserted: int
    replaced: int
    unchanged: int
