"""The SQL functions of candles, as statements with parameters. No I/O here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from psycopg import sql

from store.arguments import count_or_none, flag, line, time
from store.errors import InvalidArgument
from store.files.spreadsheet import guarded
from store.models import Candle
from store.postgres.call import Call, _read

HEADER = b"ts,symbol,open,high,low,close,volume,complete\n"
COPY = "copy pg_temp.candle_import ({columns}) from stdin (format csv, header)"


def upsert_candles(timeframe: str, candles: Sequence[Candle], force: bool) -> Call:
    if not isinstance(candles, list | tuple):
        raise InvalidArgument(f"candles must be a list of Candle, not {type(candles).__name__}")
    text = json.dumps([_members(candle) for candle in candles])
    return _read(
        "r.*", "upsert_candles", timeframe=_timeframe(timeframe), candles=text, force=flag(force, "force")
    )  # fmt: skip


def get_candles(
    symbol: str, timeframe: str, from_: datetime | None, to: datetime | None, after: datetime | None, limit: int | None
) -> Call:
    return _read(
        "r.*", "get_candles", symbol=_symbol(symbol), timeframe=_timeframe(timeframe), **_range(from_, to),
        after=None if after is None else time(after, "after"), limit=count_or_none(limit, "limit"),
    )  # fmt: skip


def copy_candles(
    symbol: str, timeframe: str, from_: datetime | None, to: datetime | None, after: str | None, limit: int
) -> str:
    """A COPY of a page of candles as CSV, without a header, in the order of time; `after`: the last ts before."""
    given = {
        "symbol": _symbol(symbol), "timeframe": _timeframe(timeframe), "limit": limit, "after": after,
        **{name: moment and _utc(moment) for name, moment in _range(from_, to).items()},
    }  # fmt: skip
    arguments = sql.SQL(", ").join(
        sql.SQL("p_{} => {}").format(sql.SQL(name), sql.Literal(value)) for name, value in given.items()
    )
    query = sql.SQL(
        """copy (select pg_catalog.to_char(pg_catalog.timezone('UTC', r.ts), 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'),
                        {symbol}, r.open, r.high, r.low, r.close, r.volume, r.complete::pg_catalog.text
                   from public.get_candles({arguments}) r) to stdout (format csv)"""
    )
    return query.format(symbol=sql.Literal(guarded(symbol)), arguments=arguments).as_string(None)


def missing_candles(symbol: str, timeframe: str, from_: datetime | None, to: datetime | None) -> Call:
    return _read("r.*", "missing_candles", symbol=_symbol(symbol), timeframe=_timeframe(timeframe), **_range(from_, to))


def rollup_candles(
    symbol: str | None, from_timeframe: str, to_timeframe: str, from_: datetime | None, to: datetime | None, force: bool
) -> Call:
    return _read(
        "r.*", "rollup_candles", symbol=None if symbol is None else _symbol(symbol),
        from_timeframe=_timeframe(from_timeframe), to_timeframe=_timeframe(to_timeframe), **_range(from_, to),
        force=flag(force, "force"),
    )  # fmt: skip


def begin_candle_import(timeframe: str, symbol: str | None) -> Call:
    symbol = None if symbol is None else _symbol(symbol)
    return _read("r", "begin_candle_import", timeframe=_timeframe(timeframe), symbol=symbol)


def merge_candles(timeframe: str, force: bool) -> Call:
    return _read("r.*", "merge_candles", timeframe=_timeframe(timeframe), force=flag(force, "force"))


def _symbol(value: object) -> str:
    return line(value, "a symbol", InvalidArgument)


def _timeframe(value: object) -> str:
    return line(value, "a timeframe", InvalidArgument)


def _range(from_: datetime | None, to: datetime | None) -> dict[str, datetime | None]:
    return {"from": None if from_ is None else time(from_, "from_"), "to": None if to is None else time(to, "to")}


def _utc(moment: datetime) -> str:
    """Write a time as a literal: with an offset of a day PostgreSQL wouldn't read it."""
    try:
        return moment.astimezone(UTC).isoformat()
    except OverflowError:
        return "-infinity" if moment.year == 1 else "infinity"


def _members(candle: object) -> dict[str, object]:
    if not isinstance(candle, Candle):
        raise InvalidArgument(f"candles must be a list of Candle, not of {type(candle).__name__}")
    numbers = {name: _number(getattr(candle, name), name) for name in ("open", "high", "low", "close", "volume")}
    return {
        "ts": time(candle.ts, "ts").isoformat(), "symbol": _symbol(candle.symbol), **numbers,
        "complete": flag(candle.complete, "complete"),
    }  # fmt: skip


def _number(value: object, what: str) -> str:
    """Write a number as text: JSON's own would come through a float. Which ones are right, SQL says."""
    if not isinstance(value, Decimal | int | float) or isinstance(value, bool):
        raise InvalidArgument(f"{what} must be a Decimal, not {type(value).__name__}")
    try:
        return str(value)
    except ValueError:  # an int of thousands of digits
        raise InvalidArgument(f"{what} must be a number within the range of a double") from None
