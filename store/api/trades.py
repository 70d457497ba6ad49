"""Trades: record closed trades, read them, and tell what they earned under which settings."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Unpack
from uuid import UUID

from store.api.base import Core, check_identifier, identifier_or_none
from store.arguments import count_or_none
from store.errors import InvalidArgument, InvalidSettings
from store.json_writer import json_text
from store.models import EquityPoint, Trade, TradesRecorded, TradeStatistics
from store.postgres import functions
from store.postgres.functions.trades import FigureOptions, TradeSelection

PAGE = 20  # trades a query: the extra of each may be of 1 MiB
PAGE_OF_FIGURES = 500


class Trades(Core):
    """The part of the store that knows trades. A trade is a record: it bears no writer, and never changes."""

    async def record_trade(self, identifier: str, trade: Mapping[str, Any]) -> Trade:
        """Record a closed trade, with the versions of the settings that were in force at its entry.

        `trade`: columns of the table by name. Required are symbol, side, entry_time, entry_price, entry_size,
        exit_time, exit_price, exit_size, realized_pnl (before fees and funding) and exit_order_id. Money as Decimal,
        int, float or text; times with a time zone. Idempotent by exit_order_id; but `funding_fee` and `currency`, if
        they weren't known, are recorded then. Raises InvalidArgument (a bad trade, see its problems; or one recorded
        with other data), UnknownUser.
        """
        (row,) = await self._fetch(functions.trades.record_trade(check_identifier(identifier), _text(trade)))
        return Trade(**row)

    async def record_trades(self, trades: Sequence[Mapping[str, Any]]) -> TradesRecorded:
        """Record trades as record_trade() takes them, each with its `okx_uid`, all or none.

        Raises InvalidArgument; its problems are named by the trade's index: {"3.side": why}.
        """
        if not isinstance(trades, list | tuple):
            raise InvalidArgument(f"trades must be a list, not {type(trades).__name__}")
        text = ",".join(_text(trade, f"{place}.") for place, trade in enumerate(trades))
        (row,) = await self._fetch(functions.trades.record_trades(f"[{text}]"))
        return TradesRecorded(**row)

    async def trades(
        self,
        identifier: str,
        *,
        symbol: str | None = None,
        side: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: tuple[datetime, UUID] | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Trade]:
        """Yield a user's trades, newest exit first, a page a query.

        `since`, `until`: exits from then on, and before then. `before`: exit_time and id of a trade; those after it in
        this order. Raises UnknownUser, InvalidArgument.
        """
        left = count_or_none(limit, "limit")
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            call = functions.trades.get_trades(check_identifier(identifier), symbol, side, since, until, before, size)
            rows = await self._fetch(call)
            for row in rows:
                yield Trade(**row)
            if len(rows) < size:
                return
            before = rows[-1]["exit_time"], rows[-1]["id"]
            left = None if left is None else left - size

    async def trade_statistics(
        self, identifier: str | None = None, *, by: Sequence[str] = (), **options: Unpack[FigureOptions]
    ) -> list[TradeStatistics]:
        """Tell the figures of a user's trades (None: everybody's): an item per currency, and per group of `by`.

        `by`: any of user, symbol, side; one of day, week, month (of the exit, UTC); one of params, dual_side (version
        in force at entry), params.KEY, dual_side.KEY (value of that setting in it). `options`: `symbol`, `side`,
        `since`, `until`, `currency` select trades; `year_days` (365): by which is annualised (1: it isn't); `capital`:
        what each item began with, for what is told in percent. Raises UnknownUser, InvalidArgument.
        """
        call = functions.trades.trade_statistics(identifier_or_none(identifier), by, **options)
        return [TradeStatistics(**row) for row in await self._fetch(call)]

    def iter_trade_statistics(
        self, identifier: str | None = None, *, by: Sequence[str] = (), **options: Unpack[FigureOptions]
    ) -> AsyncGenerator[TradeStatistics]:
        """Yield what trade_statistics() lists, without holding it all."""
        call = functions.trades.trade_statistics(identifier_or_none(identifier), by, **options)
        return self._each(call, _figures, PAGE_OF_FIGURES)

    async def trade_statistics_by_version(
        self, identifier: str | None = None, setting_type: str = "params", **options: Unpack[FigureOptions]
    ) -> list[TradeStatistics]:
        """Tell which settings earned what: the figures per user and version of params or dual_side at entry.

        `options`: as of trade_statistics().
        """
        call = functions.trades.trade_statistics_by_setting_version(
            identifier_or_none(identifier), setting_type, **options
        )
        return [TradeStatistics(**row) for row in await self._fetch(call)]

    def iter_trade_statistics_by_version(
        self, identifier: str | None = None, setting_type: str = "params", **options: Unpack[FigureOptions]
    ) -> AsyncGenerator[TradeStatistics]:
        """Yield what trade_statistics_by_version() lists, without holding it all."""
        call = functions.trades.trade_statistics_by_setting_version(
            identifier_or_none(identifier), setting_type, **options
        )
        return self._each(call, _figures, PAGE_OF_FIGURES)

    async def trade_statistics_by_setting_value(
        self, setting_type: str, key: str, identifier: str | None = None, **options: Unpack[FigureOptions]
    ) -> list[TradeStatistics]:
        """Tell which value of a setting earned what: the figures of everybody's trades (or a user's) per value of a key
        of params or dual_side, in the version in force at entry.

        `value` is None of trades where it wasn't set or isn't known any more, a mask of secrets. `options`: as of
        trade_statistics(). Raises UnknownUser, InvalidArgument.
        """
        call = functions.trades.trade_statistics_by_setting_value(
            setting_type, key, identifier_or_none(identifier), **options
        )
        return [TradeStatistics(**row) for row in await self._fetch(call)]

    def equity_curve(
        self, identifier: str | None = None, setting_type: str = "params", **selection: Unpack[TradeSelection]
    ) -> AsyncGenerator[EquityPoint]:
        """Yield what a user's trades (None: everybody's) earned up to each exit, currency by currency, oldest first.

        `selection`: `symbol`, `side`, `since`, `until`, `currency`. Raises UnknownUser, InvalidArgument.
        """
        call = functions.trades.equity_curve(identifier_or_none(identifier), setting_type, **selection)
        return self._each(call, lambda row: EquityPoint(**row), PAGE_OF_FIGURES)


def _figures(row: Mapping[str, Any]) -> TradeStatistics:
    return TradeStatistics(**row)


def _text(trade: Mapping[str, Any], place: str = "") -> str:
    """Write a trade as JSON; Decimals keep every digit. Raises InvalidArgument, naming the keys behind `place`."""
    if not isinstance(trade, Mapping):
        raise InvalidArgument(f"a trade must be a mapping, not {type(trade).__name__}")
    try:
        return json_text({key: _plain(value) for key, value in trade.items()})
    except InvalidSettings as error:
        problems = {f"{place}{key}": why for key, why in error.problems.items()}
    raise InvalidArgument("not a trade as it can be recorded", detail=json.dumps(problems))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
