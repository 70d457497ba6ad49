"""What a report shows, read and thinned, before it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from store.models import Candle, EquityPoint, Gap, TradeStatistics
from store.postgres.functions.trades import TradeSelection
from store.report.words import moment


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which trades: a user's, or (None) everybody's; of a symbol, a side; exits from `since` on, before `until`."""

    identifier: str | None
    symbol: str | None = None
    side: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def selection(self) -> TradeSelection:
        return {"symbol": self.symbol, "side": self.side, "since": self.since, "until": self.until}

    @property
    def words(self) -> str:
        parts = [
            *([f"of {self.symbol}"] if self.symbol else []),
            *([f"{self.side} only"] if self.side else []),
            *([f"closed from {moment(self.since)} on"] if self.since else []),
            *([f"closed before {moment(self.until)}"] if self.until else []),
        ]
        return f"Trades {', '.join(parts)}" if parts else "All closed trades"


@dataclass(frozen=True, slots=True)
class Saved:
    """A version of settings as it is told of. `changed`: a line a key, of many keys the first ones."""

    setting_type: str
    version: int
    saved_at: datetime
    who: str
    changed: Sequence[str]


@dataclass(frozen=True, slots=True)
class Group:
    """Figures beside each other, a row with its name for each. `left_out`: how many rows there are besides."""

    heading: str
    rows: Sequence[tuple[str, TradeStatistics]]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Results:
    """What was earned in one currency. `moments`: how many points the curve had before it was thinned. `amounts`: what
    each of those `counted` earned."""

    currency: str | None
    figures: TradeStatistics
    curve: Sequence[EquityPoint]
    moments: int
    months: Sequence[TradeStatistics]
    groups: Sequence[Group]
    amounts: Sequence[float]
    counted: str

    @property
    def unit(self) -> str:
        """What stands behind an amount."""
        return self.currency or ""

    @property
    def named_unit(self) -> str:
        """The same where it stands alone."""
        return self.currency or "unknown currency"


@dataclass(frozen=True, slots=True)
class Deal:
    """A trade as it is marked among candles."""

    side: str
    entry_time: datetime
    entry_price: Decimal
    entry_size: Decimal
    exit_time: datetime
    exit_price: Decimal
    net_pnl: Decimal
    currency: str | None
    close_type: str | None
    params_version: int | None


@dataclass(frozen=True, slots=True)
class Market:
    """A symbol's newest deals, of `trades`, and the candles of that time. `timeframe`: None if there are none;
    `folded`: how many of its candles are drawn as one. `gaps`: the longest of those where `missing` candles aren't."""

    symbol: str
    trades: int
    deals: Sequence[Deal]
    timeframe: str | None = None
    folded: int = 1
    candles: Sequence[Candle] = ()
    gaps: Sequence[Gap] = ()
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """All of a report. `undrawn`: symbols without a picture. `versions`: newest first; `has_older`: there are more."""

    title: str
    chosen: Chosen
    made_at: datetime
    results: Sequence[Results]
    markets: Sequence[Market] = ()
    undrawn: int = 0
    versions: Sequence[Saved] = ()
    has_older: bool = False
