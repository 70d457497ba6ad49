"""Trade files: CSV with a header, or JSON (an object a line, or an array), into the store in one transaction."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import BinaryIO

from store.api.base import Core
from store.errors import InvalidArgument, InvalidSettings, StoreError
from store.files.spreadsheet import unguarded
from store.json_reader import NotJson, Reader, Untakeable, parse
from store.json_writer import json_text, shown_key
from store.models import TradesRecorded
from store.postgres import functions

BATCH = 1000  # trades a query
CELL = 1 << 25  # characters a cell of CSV may have: an extra of 1 MiB with every character escaped, and more
NEEDED = (
    "okx_uid", "symbol", "side", "entry_time", "entry_price", "entry_size", "exit_time", "exit_price", "exit_size",
    "realized_pnl", "exit_order_id",
)  # fmt: skip
Row = tuple[int, str]  # line number, the trade as JSON


class TradesRejected(StoreError):
    """The file can't be taken; nothing of it was. The detail names lines and columns, no values."""


async def import_trades(
    store: Core, file: BinaryIO, progress: Callable[[int], None] = lambda _: None
) -> TradesRecorded:
    """Record the trades of a file, each with its okx_uid, in one transaction: all or none.

    Trades recorded before are passed over, so it may be repeated. A file whose first sign is { has JSON objects, one
    after the other, with [ an array of them, as trades list --json prints; any other is CSV with a header, where an
    empty cell is a column that isn't given. While it runs, its users can't be linked, deleted or erased. Raises
    TradesRejected.
    """
    recorded = known = 0
    rows = _rows(file)
    async with store._connections.database.transaction() as transaction:
        while batch := list(islice(rows, BATCH)):
            problem: InvalidArgument | InvalidSettings
            try:
                text = ",".join(trade for _, trade in batch)
                (row,) = await transaction.fetch(functions.trades.record_trades(f"[{text}]"))
                recorded, known = recorded + row["recorded"], known + row["known"]
                progress(len(batch))
                continue
            except (InvalidArgument, InvalidSettings) as error:
                problem = error
            raise TradesRejected(f"{_REJECTED}: {problem.message}", detail=_by_line(problem, batch))
    return TradesRecorded(recorded, known)


_REJECTED = "the file was rejected as a whole, nothing was recorded"


def _by_line(error: InvalidArgument | InvalidSettings, batch: Sequence[Row]) -> str:
    """Name problems by the lines of the file, where PostgreSQL names them by the place in the batch."""
    found = []
    for name, why in error.problems.items():
        index, dot, key = name.partition(".")
        is_placed = dot and index.isdigit()
        line = batch[int(index)][0] if is_placed else batch[0][0]
        found.append((line, f"line {line}: {shown_key(key)}: {why}" if is_placed else f"from line {line} on: {why}"))
    return "\n".join(text for _, text in sorted(found))


def _rows(file: BinaryIO) -> Iterator[Row]:
    """Read a file's trades. Raises TradesRejected, naming the line."""
    lines = _lines(file)
    for number, line in enumerate(lines, 1):
        if line.strip():
            read = _json_rows if line.lstrip()[0] in "{[" else _csv_rows
            yield from read(number, line, lines)
            return
    raise _rejected(1, "the file is empty")


def _lines(file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        problem = "not UTF-8 text"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if "\0" not in text:
                yield text
                continue
            problem = "holds the character U+0000"
        except UnicodeDecodeError:
            pass
        raise _rejected(number, problem)


def _json_rows(number: int, first: str, lines: Iterator[str]) -> Iterator[Row]:
    """Read an object a line; all at once if it is an array, or if the first object goes on beyond its line."""
    if first.lstrip().startswith("[") or not _is_whole(first):
        yield from _objects(number, first + "".join(lines))
        return
    for place, line in enumerate(chain([first], lines), number):
        yield from _objects(place, line)


def _is_whole(line: str) -> bool:
    try:
        Reader(line).value()
    except json.JSONDecodeError as error:
        return error.pos < len(line.rstrip())
    except (ValueError, RecursionError):
        pass
    return True


def _objects(number: int, text: str) -> Iterator[Row]:
    """Read objects one after the other, or an array of them. `number`: of the text's first line."""
    reader, line, counted, problem = Reader(text), number, 0, ""
    try:
        for _ in reader.elements() if text.lstrip().startswith("[") else reader.values():
            line, counted = line + text.count("\n", counted, reader.at), reader.at
            trade, start, end = reader.value()
            json_text(trade)
            if not isinstance(trade, dict):
                problem = "not a JSON object"
                break
            yield line, text[start:end]
        else:
            reader.end()
    except json.JSONDecodeError as error:
        line, problem = number + error.lineno - 1, f"{error.msg} (column {error.colno})"
    except RecursionError:
        problem = "nested too deep"
    except InvalidSettings as error:
        problem = "; ".join(f"{key}: {why}" for key, why in error.problems.items())
    except ValueError as error:
        problem = str(error)
    if problem:
        raise _rejected(line, problem)


def _csv_rows(number: int, first: str, lines: Iterator[str]) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), CELL))  # it is the process's; raised, it harms nobody
    reader = csv.reader(chain([first], lines), strict=True)
    problem, start = "", number
    try:
        header = [name.strip() for name in next(reader)]
        if missing := [name for name in NEEDED if name not in header]:
            problem = f"not a header of trades: no column {', '.join(missing)}"
        elif len(set(header)) < len(header):
            problem = "two columns have the same name"
        while not problem:
            start = number + reader.line_num
            cells = next(reader)
            if len(cells) == len(header):
                yield start, _csv_trade(dict(zip(header, cells, strict=True)))
            elif cells:
                problem = f"{len(cells)} cells, but the header has {len(header)}"
    except StopIteration:
        return
    except (csv.Error, ValueError) as error:
        problem = str(error)
    raise _rejected(number + reader.line_num - 1, problem)


def _csv_trade(cells: dict[str, str]) -> str:
    """Write a row as JSON: every cell a text, which PostgreSQL reads; but extra, which is JSON itself."""
    given = {name: unguarded(text.strip()) for name, text in cells.items() if text.strip()}
    extra = given.pop("extra", None)
    trade = json.dumps(given, ensure_ascii=False)
    if extra is None:
        return trade
    try:
        json_text(parse(extra))
    except NotJson:
        raise ValueError("extra is not JSON") from None
    except InvalidSettings as error:
        raise ValueError(f"extra: {'; '.join(error.problems.values())}") from None
    except Untakeable as error:
        raise ValueError(f"extra can't be taken: {error}") from None
    return f'{trade[:-1]}{", " if given else ""}"extra": {extra}}}'


def _rejected(line: int, problem: str) -> TradesRejected:
    return TradesRejected(_REJECTED, detail=f"line {line}: {problem}")
