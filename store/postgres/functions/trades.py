"""The SQL functions of trades, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict, Unpack
from uuid import UUID

from store.arguments import amount_or_none, count, text_or_none, time
from store.errors import InvalidArgument
from store.models import Trade
from store.postgres.call import Call, _read, _write


class TradeSelection(TypedDict, total=False):
    """Which trades: of a symbol, a side, a currency; `since`, `until`: whose exit was from then on, before then."""

    symbol: str | None
    side: str | None
    since: datetime | None
    until: datetime | None
    currency: str | None


class FigureOptions(TradeSelection, total=False):
    """Of which trades, and by what. `year_days`: the days of a year, by which is annualised (365; 1: it isn't).
    `capital`: what there was before the first of these trades, in their currency."""

    year_days: int
    capital: Decimal | float | str | None


TRADE = ", ".join(f"r.{field.name}" for field in fields(Trade))


def record_trade(identifier: str, trade: str) -> Call:
    """`trade`: a JSON object, as text."""
    return _write(TRADE, "record_trade", "identifier", identifier, trade=trade)


def record_trades(trades: str) -> Call:
    """`trades`: a JSON array, as text."""
    return _write("r.*", "record_trades", "trades::jsonb", trades)


def get_trades(
    identifier: str,
    symbol: str | None,
    side: str | None,
    since: datetime | None,
    until: datetime | None,
    before: tuple[datetime, UUID] | None,
    limit: int | None,
    columns: str = TRADE,
) -> Call:
    before_time, before_id = _place(before)
    return _read(
        columns, "get_trades", identifier=identifier, **_selection(symbol, side, since, until),
        before_time=before_time, before_id=before_id, limit=limit,
    )  # fmt: skip


def trade_statistics(identifier: str | None, by: Sequence[str] = (), **options: Unpack[FigureOptions]) -> Call:
    if not isinstance(by, list | tuple):
        raise InvalidArgument(f"by must be a list of strings, not {type(by).__name__}")
    groups = [text_or_none(group, "by") for group in by]
    return _read("r.*", "trade_statistics", identifier=identifier, group_by=groups, **_figured(**options))


def trade_statistics_by_setting_version(
    identifier: str | None, setting_type: str, **options: Unpack[FigureOptions]
) -> Call:
    return _read(
        "r.*", "trade_statistics_by_setting_version", identifier=identifier,
        setting_type=text_or_none(setting_type, "setting_type"), **_figured(**options),
    )  # fmt: skip


def trade_statistics_by_setting_value(
    setting_type: str, key: str, identifier: str | None, **options: Unpack[FigureOptions]
) -> Call:
    return _read(
        "r.*", "trade_statistics_by_setting_value", setting_type=text_or_none(setting_type, "setting_type"),
        key=text_or_none(key, "key"), identifier=identifier, **_figured(**options),
    )  # fmt: skip


def equity_curve(identifier: str | None, setting_type: str, **options: Unpack[TradeSelection]) -> Call:
    return _read(
        "r.*", "equity_curve", identifier=identifier, setting_type=text_or_none(setting_type, "setting_type"),
        **_selected(**options),
    )  # fmt: skip


def _place(before: object) -> tuple[datetime | None, UUID | None]:
    if before is None:
        return None, None
    if isinstance(before, tuple) and len(before) == 2 and isinstance(before[1], UUID):
        return time(before[0], "before"), before[1]
    raise InvalidArgument("before must be the exit_time and the id of a trade")


def _figured(
    year_days: int = 365, capital: Decimal | float | str | None = None, **selection: Unpack[TradeSelection]
) -> dict[str, Any]:
    return {
        **_selected(**selection),
        "year_days": count(year_days, "year_days"),
        "capital": amount_or_none(capital, "capital"),
    }


def _selected(
    symbol: str | None = None,
    side: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    currency: str | None = None,
) -> dict[str, Any]:
    return {**_selection(symbol, side, since, until), "currency": text_or_none(currency, "currency")}


def _selection(
    symbol: str | None, side: str | None, since: datetime | None, until: datetime | None
) -> dict[str, str | datetime | None]:
    return {
        "symbol": text_or_none(symbol, "symbol"),
        "side": text_or_none(side, "side"),
        "from": None if since is None else time(since, "since"),
        "to": None if until is None else time(until, "until"),
    }
