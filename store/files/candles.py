"""CSV files of candles: the header and the shape of the times are read here, everything else by PostgreSQL's COPY."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, BinaryIO

from store.errors import InvalidArgument, StoreError

BLOCK = 1 << 18  # bytes a read
LONGEST = 1 << 16  # bytes a line
NAMES = {
    "time": "ts", "timestamp": "ts", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "vol": "volume",
    "confirm": "complete",
}  # fmt: skip
NEEDED = ("ts", "symbol", "open", "high", "low", "close", "volume")

NUMBERS = ("open", "high", "low", "close", "volume")

# PostgreSQL would take more for a time: now, infinity, 1/2/26, 24:00, :60; and round a seventh digit onto the grid.
ISO = rb"\d{4}-\d\d-\d\d(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6}0*)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?"
EPOCH = rb"\d{13}|\d{10}"
GUARD = rb"'(?='*[=+@-])"  # as spreadsheet.guarded() writes it; of what it guards, a symbol may start with these
CELL = rb"(?:\"(?:[^\"\n]|\"\")*\"|[^\",\n]*)"
ODD = (b"_", b"0x", b"0X", b"0o", b"0O", b"0b", b"0B")  # of numbers that PostgreSQL reads from 16 on: 1_000, 0x10
OPEN_QUOTE = re.compile(rb'(?m)^[^"\n]*"(?:[^"\n]*"[^"\n]*")*[^"\n]*$')  # a candle is one line


class Reader:
    """Reads a file of candles and hands it on in blocks of whole lines; the first line is the header."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress
        self._begun = b""  # what was read along with the header

    async def read_header(self, has_symbol: bool) -> None:
        """Read the first line. Raises InvalidArgument."""
        header = b""
        while b"\n" not in header and len(header) <= LONGEST and (data := await self._read()):
            header += data
        header, _, self._begun = header.partition(b"\n")
        self.columns = _columns(header[:LONGEST].removeprefix(b"\xef\xbb\xbf"), has_symbol)
        before = _cell(self.columns.index("ts"))
        self._guard = re.compile(_cell(self.columns.index("symbol")) + GUARD) if "symbol" in self.columns else None
        self._numbers = {name: _cell(place) for place, name in enumerate(self.columns) if name in NUMBERS}
        self._epoch = re.compile(before + rb"(" + EPOCH + rb")(?=\"?[,\r\n])")
        self._good = {
            shape: re.compile(before.replace(b"^(", b"^(?!(") + rb"(?:" + shape + rb")\"?[,\r\n])")
            for shape in (ISO, EPOCH)
        }
        self._shape: bytes | None = None  # as in the first line

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the file. Raises InvalidArgument, by line."""
        yield b"\n"  # in the header's place, so that COPY counts lines as the file does
        rest, line, data = b"", 2, self._begun
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

    async def _read(self) -> bytes:
        await _readable(self._file)
        data: bytes = getattr(self._file, "read1", self._file.read)(BLOCK)  # of a pipe what is there
        self._progress(len(data))
        return data

    def _checked(self, block: bytes, line: int) -> bytes:
        """Refuse a line whose time is none; write seconds since 1970 as PostgreSQL reads them."""
        if self._shape is None:
            self._shape = EPOCH if self._epoch.match(block) else ISO
        bad = self._good[self._shape].search(block)
        what = "an ISO 8601 time" if self._shape == ISO else "seconds or milliseconds since 1970, as in the first line"
        problem = f"ts is not {what}"
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


def _cell(column: int) -> bytes:
    """A pattern: all before a cell, which may be quoted."""
    return rb"(?m)^((?:%b,){%d}\"?)" % (CELL, column)


def bad_line(error: Any) -> StoreError | None:
    """Make what COPY says of a line an error that names the line, but no value; None if it is of something else."""
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
    return InvalidArgument(f"line {found[1]}: {what}")


def _columns(header: bytes, has_symbol: bool) -> list[str]:
    try:
        names = [name.strip().strip('"').lower() for name in header.decode("ascii").rstrip("\r\n").split(",")]
    except UnicodeDecodeError:
        names = []
    columns = [NAMES.get(name, name) for name in names]
    needed = [name for name in NEEDED if name != "symbol" or not has_symbol]
    problem = None
    if missing := [name for name in needed if name not in columns]:
        problem = f"no column {', '.join(missing)}"
    elif unknown := [name for name, column in zip(names, columns, strict=True) if column not in (*needed, "complete")]:
        problem = f"{len(unknown)} columns too many"
    elif len(set(columns)) < len(columns):
        problem = "a column is named twice"
    if problem:
        hint = f"It names the columns: {','.join(needed)}, and complete if need be."
        raise InvalidArgument(f"line 1: not a header of candles: {problem}", hint=hint)
    return columns


def _iso(found: re.Match[bytes]) -> bytes:
    number = int(found[2])
    moment = datetime.fromtimestamp(number / 1000 if len(found[2]) == 13 else number, UTC)
    return found[1] + moment.isoformat().encode()


async def _readable(file: BinaryIO) -> None:
    """Wait until a pipe has something, so that Ctrl-C isn't kept waiting for it; a regular file always has."""
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        number = file.fileno()
        loop.add_reader(number, ready.set)
    except OSError:  # not a file of the system, or a regular one
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(number)
