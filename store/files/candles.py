"""Files of candles, of all formats: what a file is, and its rows as COPY takes them."""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from typing import Protocol

from store.errors import InvalidArgument, StoreError
from store.files import candle_formats as formats
from store.files.candle_csv import LONGEST, NEEDED, OwnCsv, parse_header
from store.files.candle_formats import COLUMNS, CRYPTODATADOWNLOAD, STORE, Columns, Format
from store.files.rows import BadRow, Text, csv_rows, json_rows
from store.files.unpacked import BLOCK, Unpacked
from store.json_reader import Stream

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Reader(Protocol):
    """A file of candles, as COPY takes it."""

    @property
    def columns(self) -> Sequence[str]: ...

    def blocks(self) -> AsyncIterator[bytes]:
        """Yield lines, the first blank in a header's place. Raises InvalidArgument, by line."""

    def place(self, line: int) -> str:
        """Say where in the file that is which went to COPY in this line."""


async def recognise(source: Unpacked, timeframe: str, symbol: str | None, form: str | None) -> Reader:
    """Find out what is in a file. `form`: the name of its format, if it is known. Raises InvalidArgument."""
    given = None if form is None else formats.named(form)
    head = (await source.head(1, LONGEST))[:LONGEST].removeprefix(b"\xef\xbb\xbf")
    if head.lstrip().startswith((b"[", b"{")):
        await source.settle()
        return Rows(_json(source, given, _width(timeframe), symbol), "candle")
    names, problem = parse_header(head.partition(b"\n")[0], symbol is not None)
    if problem is None and given in (None, STORE):
        return OwnCsv(source, names)
    lines = (await source.head(2, LONGEST))[: 2 * LONGEST].decode("utf-8-sig", errors="replace").split("\n")
    found = _columns([_cells(line) for line in (*lines, "")[:2]], given)
    if found is None:
        hint = f"It names the columns: {','.join(NEEDED)}, and complete if need be; or say what it is: --format."
        raise InvalidArgument(f"line 1: not a header of candles: {problem}", hint=hint)
    columns = Columns(found[0], found[1], _width(timeframe), symbol)
    await source.settle()
    return Rows(_csv(source, columns, found[2]), "line", found[2])


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r")]), [])
    except csv.Error:
        return []


def _columns(rows: list[list[str]], given: Format | None) -> tuple[Format, Sequence[str], int] | None:
    """Tell by the first two lines of CSV: the format, the columns, and how many lines there are before the candles."""
    is_lone = sum(map(bool, rows[0])) == 1
    is_below = is_lone and CRYPTODATADOWNLOAD in (given, formats.by_header(formats.normal(rows[1])))
    first = rows[is_below]
    if any(re.fullmatch(formats.NUMBER, cell) for cell in first):
        found = given or formats.by_cells(first, is_json=False)
        return (found, found.columns, is_below) if found and found.columns else None
    names = formats.normal(first)
    found = given or formats.by_header(names)
    return (found, names, is_below + 1) if found is not STORE or "" in names[:1] else None


def _width(timeframe: str) -> timedelta | None:
    """How long a candle is; None: PostgreSQL will say that there is no such timeframe."""
    found = re.fullmatch(r"([1-9]\d{0,3})([mhd])", timeframe, re.ASCII) if isinstance(timeframe, str) else None
    return int(found[1]) * UNITS[found[2]] if found else None


class Rows:
    """Rows that are written anew."""

    columns = COLUMNS

    def __init__(self, rows: Iterator[str], what: str, before: int = 0) -> None:
        """`what` and `before`: rows are named by, and how many there are before the first one."""
        self._rows = rows
        self._what = what
        self._before = before

    async def blocks(self) -> AsyncIterator[bytes]:
        yield b"\n"
        lines, size = [], 0
        try:
            for line in self._rows:
                lines.append(line)
                size += len(line)
                if size > BLOCK:
                    yield "".join(lines).encode()
                    lines, size = [], 0
        except BadRow as error:
            raise InvalidArgument(str(error)) from None
        yield "".join(lines).encode()

    def place(self, line: int) -> str:
        return f"{self._what} {line - 1 + self._before}"


def _csv(source: Unpacked, columns: Columns, skipped: int) -> Iterator[str]:
    """Yield the candles of a CSV file behind its first lines. Raises BadRow."""
    for expected, (line, cells) in enumerate(csv_rows(Text(source.read_now, LONGEST).lines()), 1):
        if line != expected:
            raise BadRow(f"line {expected}", "blank")
        if line > skipped:
            try:
                yield columns.row(cells)
            except ValueError as error:
                raise BadRow(f"line {line}", str(error)) from None


def _json(source: Unpacked, form: Format | None, width: timedelta | None, symbol: str | None) -> Iterator[str]:
    """Yield the candles of a JSON file: arrays, or objects. Raises BadRow, InvalidArgument."""
    text = Text(source.read_now, LONGEST)
    names: list[str] | None = None
    columns: Columns | None = None
    for place, (_, item, written) in enumerate(json_rows(Stream(text.block, LONGEST)), 1):
        try:
            keys = list(item) if isinstance(item, dict) else None
            if columns is None:
                form = _json_format(item, written, form)
                names = keys
                columns = Columns(form, formats.normal(keys) if keys else form.columns, width, symbol)
            if keys != names:
                if keys is None or names is None or set(keys) != set(names):
                    raise ValueError("other members than the first one")
                item = {name: item[name] for name in names}
            values = list(item.values()) if isinstance(item, dict) else item
            if not isinstance(values, list) or any(isinstance(value, dict | list) for value in values):
                raise ValueError("neither an array nor an object of numbers")
            yield columns.row([_cell(value) for value in values])
        except ValueError as error:
            raise BadRow(f"candle {place}", str(error)) from None


def _json_format(item: object, written: str, given: Format | None) -> Format:
    """Tell the format by the first item. Raises ValueError."""
    if isinstance(item, dict):
        return given or formats.by_header(formats.normal(list(item)))
    cells = [str(cell) for cell in item] if isinstance(item, list) else []
    found = given or formats.by_cells(cells, is_json=True)
    if found is None:
        raise ValueError(f"not candles of a known format: {f'an array of {len(cells)}' if cells else 'no array'}")
    if len(cells) == len(NEEDED) - 1 and '"' in written:
        raise ValueError("six texts, as OKX gives for indexes and mark prices: there is no volume")
    return found


def _cell(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def placed(error: StoreError, place: Callable[[int], str]) -> StoreError:
    """Name the rows that PostgreSQL names by lines as they are named in the file."""
    texts = (
        text and re.sub(r"^line (\d+): ", lambda found: f"{place(int(found[1]))}: ", text)
        for text in (error.message, error.detail)
    )
    message, detail = texts
    return type(error)(message or "", detail=detail, hint=error.hint)
