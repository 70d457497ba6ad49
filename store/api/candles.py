"""Candles: saved, read, made coarser, looked through for gaps; imported in bulk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import BinaryIO

from store.api.base import Core
from store.errors import InvalidArgument, StoreError
from store.files import candle_csv, candles
from store.files.unpacked import Unpacked
from store.models import Candle, Gap, Written
from store.postgres import functions

PAGE = 1000  # candles a batch
PAGE_OF_COPY = 20_000  # candles a COPY: PostgreSQL makes the result of a function whole, and those fit in its memory


class Candles(Core):
    """The part of the store that knows candles. A timeframe is 1m, 3m, 5m, 15m, 30m, 1h, 4h or 1d, in UTC."""

    async def upsert_candles(self, timeframe: str, candles: Sequence[Candle], *, force: bool = False) -> Written:
        """Save candles, all or none; one that is there already is left or replaced.

        An unfinished one is replaced by whatever comes; a finished one only by other values with `force`, and never by
        an unfinished one. Raises HistoryIsImmutable (a finished candle would change), InvalidArgument (unknown
        timeframe, bad candle), NotPermitted.
        """
        (row,) = await self._fetch(functions.candles.upsert_candles(timeframe, candles, force))
        return Written(**row)

    async def get_candles(
        self,
        symbol: str,
        timeframe: str,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        after: datetime | None = None,
        limit: int | None = None,
    ) -> list[Candle]:
        """Read candles in the order of time: from `from_` on, before `to`; a page of `limit` after that `ts`.

        Raises InvalidArgument (unknown timeframe).
        """
        call = functions.candles.get_candles(symbol, timeframe, from_, to, after, limit)
        return [Candle(**row) for row in await self._fetch(call)]

    def candles(
        self,
        symbol: str,
        timeframe: str,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Candle]:
        """Yield candles in the order of time, as of one moment, without holding them all. Raises as get_candles()."""
        call = functions.candles.get_candles(symbol, timeframe, from_, to, None, limit)
        return self._each(call, lambda row: Candle(**row), PAGE)

    async def rollup_candles(
        self,
        symbol: str | None,
        from_timeframe: str,
        to_timeframe: str,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        force: bool = False,
    ) -> Written:
        """Make candles of a coarser timeframe of those of a finer one, of one symbol or all (None).

        One of which a part is missing or unfinished is unfinished; where there is none, none is made. What the range
        touches is made whole. Raises as upsert_candles(); InvalidArgument also for timeframes that don't fit.
        """
        call = functions.candles.rollup_candles(symbol, from_timeframe, to_timeframe, from_, to, force)
        (row,) = await self._fetch(call)
        return Written(**row)

    async def missing_candles(
        self, symbol: str, timeframe: str, *, from_: datetime | None = None, to: datetime | None = None
    ) -> list[Gap]:
        """Find the gaps in a symbol's candles, by default between its first and last one. Raises InvalidArgument."""
        call = functions.candles.missing_candles(symbol, timeframe, from_, to)
        return [Gap(**row) for row in await self._fetch(call)]

    def iter_missing_candles(
        self, symbol: str, timeframe: str, *, from_: datetime | None = None, to: datetime | None = None
    ) -> AsyncGenerator[Gap]:
        """Yield what missing_candles() finds, without holding it all."""
        return self._each(functions.candles.missing_candles(symbol, timeframe, from_, to), lambda row: Gap(**row), PAGE)

    async def import_candles(
        self,
        file: BinaryIO,
        timeframe: str,
        *,
        symbol: str | None = None,
        format: str | None = None,
        force: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Written:
        """Take candles from a file of any size, all or none, by the rule of upsert_candles().

        `format`: store, okx, ccxt, freqtrade, binance, cryptodatadownload or kraken (docs/files.md); None: as it looks.
        CSV or JSON, plain, gz or zip. `symbol`: of all candles, if the file doesn't say it. `progress` is told the
        bytes read. Raises InvalidArgument (a bad line, by number), HistoryIsImmutable, NotPermitted.
        """
        if not callable(getattr(file, "read", None)) or not isinstance(file.read(0), bytes):
            raise InvalidArgument("file must be open for reading bytes")
        async with Unpacked(file, progress) as source:
            reader = await candles.recognise(source, timeframe, symbol, format)
            async with self._connections.database.transaction() as transaction:
                await transaction.fetch(functions.candles.begin_candle_import(timeframe, symbol))
                copy = functions.candles.COPY.format(columns=", ".join(reader.columns))
                await transaction.copy_in(copy, reader.blocks(), lambda error: candle_csv.bad_line(error, reader.place))
                try:
                    (row,) = await transaction.fetch(functions.candles.merge_candles(timeframe, force))
                except StoreError as error:
                    raise candles.placed(error, reader.place) from None
        return Written(**row)

    async def export_candles(
        self,
        file: BinaryIO,
        symbols: Sequence[str],
        timeframe: str,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Write candles as CSV, which import_candles() reads, as of one moment; return how many.

        A symbol after the other, each in the order of time; nothing at all if there are none. `progress` is told of
        candles. Raises as get_candles(), before anything is written.
        """
        if not isinstance(symbols, list | tuple):
            raise InvalidArgument(f"symbols must be a list of strings, not {type(symbols).__name__}")
        try:
            file.write(b"")
        except (AttributeError, TypeError):
            raise InvalidArgument("file must be open for writing bytes") from None
        firsts = [
            functions.candles.copy_candles(symbol, timeframe, from_, to, None, PAGE_OF_COPY) for symbol in symbols
        ]
        count = 0
        async with self._connections.database.transaction(snapshot=True) as transaction:
            for symbol, copy in zip(symbols, firsts, strict=True):
                lines = PAGE_OF_COPY
                while lines == PAGE_OF_COPY:
                    page = b"".join([block async for block in transaction.copy_out(copy)])
                    file.write(page if count or not page else functions.candles.HEADER + page)
                    lines = page.count(b"\n")
                    last = page[page.rfind(b"\n", 0, -1) + 1 :].partition(b",")[0].decode()
                    copy = functions.candles.copy_candles(symbol, timeframe, from_, to, last, PAGE_OF_COPY)
                    count += lines
                    progress(lines)
        return count
