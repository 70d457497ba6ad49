"""Reads what a report shows, as of one moment, holding little more of it than will be shown."""

from __future__ import annotations

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from heapq import nlargest
from typing import Any

from store.api.base import Core
from store.api.history import to_version
from store.errors import InvalidArgument
from store.models import EquityPoint, TradeStatistics
from store.postgres import functions
from store.postgres.database import Transaction
from store.report.content import Chosen, Content, Group, Results, Saved
from store.report.markets import WIDTHS, read_markets
from store.report.thinning import Thinned
from store.report.words import changes, cut, writer

MOST_POINTS = 2000  # of a curve
MOST_VERSIONS = 200
MOST_ROWS = 40  # of a group
MOST_CHANGES = 30  # of a version
BATCH = 1000  # rows of figures
DOCUMENTS = 20  # versions: each may tell of a document of 1 MiB
VERSIONS = ("params", "dual_side")  # whose versions trades note

Amounts = dict[str | None, "array[float]"]  # by currency


async def read_content(store: Core, chosen: Chosen, timeframe: str | None, by_setting: Sequence[str]) -> Content:
    """Read a report. `timeframe`: of the candles, None: what fits. `by_setting`: keys of settings, as params.leverage.

    In a confined store that of its own user. Raises UnknownUser, InvalidArgument.
    """
    if timeframe not in (None, *WIDTHS):
        raise InvalidArgument(f"unknown timeframe: one of {', '.join(WIDTHS)}")
    if not isinstance(by_setting, list | tuple) or not all(isinstance(key, str) and "." in key for key in by_setting):
        raise InvalidArgument("by_setting must be a list of keys of settings, as params.leverage")
    if chosen.identifier is None:
        chosen = replace(chosen, identifier=await store._connections.confinement.known() or None)
    async with store._connections.database.transaction(snapshot=True) as transaction:
        reader = _Reader(transaction, chosen)
        results = await reader.results(by_setting)
        made_at = datetime.now(UTC)
        if chosen.identifier is None:
            return Content("All users", chosen, made_at, results)
        users = await transaction.fetch(functions.users.find_user(chosen.identifier))  # none: deleted
        title = " · ".join(filter(None, (users[0]["name"], users[0]["okx_uid"]) if users else (chosen.identifier,)))
        versions = await _versions(transaction, chosen.identifier)
        markets, undrawn = await read_markets(transaction, chosen, reader.symbols, timeframe)
        shown, has_older = versions[:MOST_VERSIONS], len(versions) > MOST_VERSIONS
        return Content(title, chosen, made_at, results, markets, undrawn, shown, has_older)


async def _versions(transaction: Transaction, identifier: str) -> list[Saved]:
    """Read the newest versions of all settings, and one more if there are older ones."""
    found: list[Saved] = []
    call = functions.history.user_setting_history(identifier, None, None, MOST_VERSIONS + 1)
    async for batch in transaction.stream(call, DOCUMENTS):
        for row in batch:
            one = to_version(row)
            lines = changes(one, MOST_CHANGES)
            found.append(Saved(one.setting_type, one.version, one.saved_at, writer(one), lines))
    return found


class _Reader:
    """Asks for figures of the trades that were chosen."""

    def __init__(self, transaction: Transaction, chosen: Chosen) -> None:
        self._transaction = transaction
        self._chosen = chosen
        self.symbols: Counter[str] = Counter()  # trades of each, once there are results

    async def results(self, by_setting: Sequence[str]) -> list[Results]:
        """Read what was earned in each currency: nothing, if there are no trades."""
        totals = [row async for row in self._statistics() if row.trades]
        curves = await self._curves(totals)
        months: dict[str | None, list[TradeStatistics]] = defaultdict(list)
        async for row in self._statistics("month"):
            months[row.currency].append(row)
        is_all = self._chosen.identifier is None
        amounts: Amounts = defaultdict(lambda: array("d"))
        names = [*([] if is_all else VERSIONS), *by_setting, "symbol"]
        groups = [await self._grouped(name) for name in names]
        if is_all:
            groups.append(await self._grouped("user", amounts))
        else:
            await self._collect(amounts)
        return [
            Results(
                row.currency, row, curves[row.currency].points(), curves[row.currency].added, months[row.currency],
                [group[row.currency] for group in groups if row.currency in group], amounts[row.currency],
                "users" if is_all else "trades",
            )
            for row in sorted(totals, key=lambda row: -row.trades)
        ]  # fmt: skip

    async def _statistics(self, *by: str) -> AsyncIterator[TradeStatistics]:
        call = functions.trades.trade_statistics(self._chosen.identifier, by, **self._chosen.selection)
        async for batch in self._transaction.stream(call, BATCH):
            for row in batch:
                yield TradeStatistics(**row)

    async def _curves(self, totals: Sequence[TradeStatistics]) -> dict[str | None, Thinned]:
        curves = {row.currency: Thinned(row.trades, MOST_POINTS) for row in totals}
        call = functions.trades.equity_curve(self._chosen.identifier, "params", **self._chosen.selection)
        async for batch in self._transaction.stream(call, BATCH):
            for row in batch:
                curves[row["currency"]].add(EquityPoint(**row))
        return curves

    async def _collect(self, amounts: Amounts) -> None:
        """Read what each trade of a user earned."""
        one = self._chosen
        assert one.identifier is not None
        call = functions.trades.get_trades(
            one.identifier, one.symbol, one.side, one.since, one.until, None, None, "r.currency, r.net_pnl::float8"
        )
        async for batch in self._transaction.stream(call, BATCH):
            for row in batch:
                amounts[row["currency"]].append(row["net_pnl"])

    async def _grouped(self, name: str, amounts: Amounts | None = None) -> dict[str | None, Group]:
        """Read figures grouped by a name; of many groups those that weigh most."""
        kept: dict[str | None, list[TradeStatistics]] = defaultdict(list)
        counts: Counter[str | None] = Counter()
        async for row in self._statistics(name):
            rows = kept[row.currency]
            rows.append(row)
            counts[row.currency] += 1
            if row.symbol is not None:
                self.symbols[row.symbol] += row.trades
            if amounts is not None:
                amounts[row.currency].append(float(row.net_pnl))
            if len(rows) > 10 * MOST_ROWS:
                rows[:] = nlargest(MOST_ROWS, rows, lambda row: _weight(name, row))
        groups = {}
        for currency, rows in kept.items():
            if len(rows) > 1 or (name in VERSIONS and rows[0].version is not None):
                shown = nlargest(MOST_ROWS, rows, lambda row: _weight(name, row))
                shown.sort(key=lambda row: _place(name, row))
                heading = f"{name} version" if name in VERSIONS else name
                named = [(_name(name, row), row) for row in shown]
                groups[currency] = Group(heading, named, counts[currency] - len(shown))
        return groups


def _weight(by: str, row: TradeStatistics) -> float:
    """Tell by what a group is kept before others: a version if it is new, a user who won or lost much, else trades."""
    if by in VERSIONS:
        return row.version or 0
    return abs(float(row.net_pnl)) if by == "user" else row.trades


def _place(by: str, row: TradeStatistics) -> Any:
    """Tell where a group comes: versions and values by themselves, users by what they earned, symbols by trades."""
    if by in VERSIONS:
        return row.version or 0
    if by == "user":
        return -row.net_pnl
    if by == "symbol":
        return -row.trades
    is_number = isinstance(row.value, int | float) and not isinstance(row.value, bool)
    return (0, row.value, "") if is_number else (1, 0, json.dumps(row.value))


def _name(by: str, row: TradeStatistics) -> str:
    if by in VERSIONS:
        return "unknown" if row.version is None else f"v{row.version}"
    if by in ("user", "symbol"):
        return str(row.okx_uid if by == "user" else row.symbol)
    return "unknown" if row.value is None else cut(json.dumps(row.value, ensure_ascii=False))
