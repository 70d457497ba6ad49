"""The store's own CSV of candles: its header and the shape of its times are read here, the rest by COPY."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from store.errors import InvalidArgument, StoreError
from store.files import candle_formats as formats
from store.files.candle_formats import COLUMNS, NUMBERS, STORE
from store.files.unpacked import Unpacked

LONGEST = 1 << 16  # bytes a line
NEEDED = COLUMNS[:-1]

ISO = formats.ISO.encode()
EPOCHS = "seconds, milliseconds or microseconds since 1970, as in the first line"
EPOCH = rb"(\d{16}|\d{13}|\d{10})(?:\.0*)?"
GUARD = rb"'(?='*[=+@-])"  # as spreadsheet.guarded() writes it; of what it guards, a symbol may start with these
CELL = rb"(?:\"(?:[^\"\n]|\"\")*\"|[^\",\n]*)"
ODD = (b"_", b"0x", b"0X", b"0o", b"0O", b"0b", b"0B")  # of numbers that PostgreSQL reads from 16 on: 1_000, 0x10
OPEN_QUOTE = re.compile(rb'(?m)^[^"\n]*"(?:[^"\n]*"[^"\n]*")*[^"\n]*$')  # a candle is one line


class OwnCsv:
    """The store's own form, handed on in blocks of whole lines; the first line is the header."""

    def __init__(self, source: Unpacked, columns: list[str]) -> None:
        self._read = source.read
        self.columns = columns
        before = _before(self.columns.index("ts"))
        self._guard = re.compile(_before(self.columns.index("symbol")) + GUARD) if "symbol" in self.columns else None
        self._numbers = {name: _before(place) for place, name in enumerate(self.columns) if name in NUMBERS}
        self._epoch = re.compile(before + EPOCH + rb"(?=\"?[,\r\n])")
        self._good = {
            shape: re.compile(before.replace(b"^(", b"^(?!(") + rb"(?:" + shape + rb")\"?[,\r\n])")
            for shape in (ISO, EPOCH)
        }
        self._shape: bytes | None = None  # as in the first line

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the file. Raises InvalidArgument, by line."""
        yield b"\n"  # in the header's place, so that COPY counts lines as the file does
        rest, line, data = b"", 2, b""
        while b"\n" not in data:  # the header, of which recognise() saw the end
            if not (more := await self._read()):
                return
            data += more
        data = data.partition(b"\n")[2]
        while data or (data := await self._read()):
            lines, newline, begun = (rest + data).rpartition(b"\n")
            data = b""
            lines = (lines + newline).replace(b"\r\n", b"\n")
            block = lines.rstrip(b"\n")  # blank lines are nothing at the end of the file, and wrong elsewhere
            rest = lines[len(block) + 1 :] + begun
            if block:
                yield self._checked(block + b"\n", line)
                line += block.count(b"\n") + 1
            elif lines:
                rest = lines + begun
            if len(rest) > LONGEST:
                raise InvalidArgument(f"line {line}: longer than {LONGEST} bytes")
        if rest := rest.rstrip(b"\r\n"):
            yield self._checked(rest + b"\n", line)

    def place(self, line: int) -> str:
        return f"line {line}"

    def _checked(self, block: bytes, line: int) -> bytes:
        """Refuse a line whose time is none; write seconds since 1970 as PostgreSQL reads them."""
        if self._shape is None:
            self._shape = EPOCH if self._epoch.match(block) else ISO
        bad = self._good[self._shape].search(block)
        problem = f"ts is not {'an ISO 8601 time' if self._shape == ISO else EPOCHS}"
        if (bad is None or bad.start() == len(block)) and b'"' in block:  # after the last newline is no line
            bad, problem = OPEN_QUOTE.search(block), "a quote is not closed"
        if bad and bad.start() < len(block):
            line += block.count(b"\n", 0, bad.start())
            raise InvalidArgument(f"line {line}: {problem}")
        if any(sign in block for sign in ODD):
            self._refuse_odd_numbers(block, line)
        if self._guard and b"'" in block:
            block = self._guard.sub(rb"\1", block)
        return self._epoch.sub(_iso, block) if self._shape == EPOCH else block

    def _refuse_odd_numbers(self, block: bytes, line: int) -> None:
        for name, before in self._numbers.items():
            if bad := re.search(before + rb"[^\",\n]*[xXoObB_]", block):
                line += block.count(b"\n", 0, bad.start())
                raise InvalidArgument(f"line {line}: {name} can't be read")


def _before(column: int) -> bytes:
    """A pattern: all before a cell, which may be quoted."""
    return rb"(?m)^((?:%b,){%d}\"?)" % (CELL, column)


def bad_line(error: Any, place: Callable[[int], str]) -> StoreError | None:
    """Make what COPY says of a line an error that names its place, but no value; None if it is of something else."""
    found = re.match(r"COPY candle_import\D*(\d+)(?:, \S+ (\w+))?", error.diag.context or "")
    if found is None or (error.sqlstate or "")[:2] not in (
        "22",
        "23",
        "54",
    ):  # a server that goes away names a line, too
        return None
    column = error.diag.column_name or found[2]
    what = {
        "22P04": error.diag.message_primary, "23502": f"{column} is missing",
        "22021": "not UTF-8 text", "22P05": "not UTF-8 text",
    }.get(error.sqlstate) or (f"{column} can't be read" if column else "can't be read")  # fmt: skip
    return InvalidArgument(f"{place(int(found[1]))}: {what}")


def parse_header(header: bytes, has_symbol: bool) -> tuple[list[str], str | None]:
    """Name the columns of the store's own form; or say why it isn't that."""
    try:
        names = formats.normal([name.strip().strip('"') for name in header.decode("ascii").split(",")])
    except UnicodeDecodeError:
        names = []
    if len(header) >= LONGEST:
        names = []
    columns = [STORE.names.get(name, name) for name in names]
    needed = [name for name in NEEDED if name != "symbol" or not has_symbol]
    problem = None
    if missing := [name for name in needed if name not in columns]:
        problem = f"no column {', '.join(missing)}"
    elif formats.by_header(names) is not STORE:
        problem = "of another format"
    elif others := [column for column in columns if column not in (*needed, "complete")]:
        problem = f"{len(others)} columns too many"
    elif len(set(columns)) < len(columns):
        problem = "a column is named twice"
    return columns, problem


def _iso(found: re.Match[bytes]) -> bytes:
    number, digits = int(found[2]), len(found[2])
    if digits == 16:  # too many for a float
        moment = formats.EPOCH + timedelta(microseconds=number)
    else:
        moment = datetime.fromtimestamp(number / 1000 if digits == 13 else number, UTC)
    return found[1] + moment.isoformat().encode()
