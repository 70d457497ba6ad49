"""The SQL functions of trades, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from uuid import UUID

from store.arguments import count, text_or_none, time
from store.errors import InvalidArgument
from store.models import Trade
from store.postgres.call import Call, _read, _write

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


def trade_statistics(
    identifier: str | None,
    symbol: str | None,
    side: str | None,
    since: datetime | None,
    until: datetime | None,
    by: Sequence[str],
    year_days: int,
) -> Call:
    if not isinstance(by, list | tuple):
        raise InvalidArgument(f"by must be a list of strings, not {type(by).__name__}")
    return _read(
        "r.*", "trade_statistics", identifier=identifier, **_selection(symbol, side, since, until),
        group_by=[text_or_none(group, "by") for group in by], year_days=count(year_days, "year_days"),
    )  # fmt: skip


def trade_statistics_by_setting_version(
    identifier: str | None,
    setting_type: str,
    symbol: str | None,
    side: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Call:
    return _read(
        "r.*", "trade_statistics_by_setting_version", identifier=identifier,
        setting_type=text_or_none(setting_type, "setting_type"), **_selection(symbol, side, since, until),
    )  # fmt: skip


def _place(before: object) -> tuple[datetime | None, UUID | None]:
    if before is None:
        return None, None
    if isinstance(before, tuple) and len(before) == 2 and isinstance(before[1], UUID):
        return time(before[0], "before"), before[1]
    raise InvalidArgument("before must be the exit_time and the id of a trade")


def _selection(
    symbol: str | None, side: str | None, since: datetime | None, until: datetime | None
) -> dict[str, str | datetime | None]:
    return {
        "symbol": text_or_none(symbol, "symbol"),
        "side": text_or_none(side, "side"),
        "from": None if since is None else time(since, "since"),
        "to": None if until is None else time(until, "until"),
    }
