"""Trade files: CSV with a header, or a JSON object a line, into the store in one transaction."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import BinaryIO

from store.api.base import Core
from store.errors import InvalidArgument, InvalidSettings, StoreError
from store.files.spreadsheet import unguarded
from store.json_reader import DuplicateKey, refuse_constant, unique
from store.json_writer import json_text
from store.models import TradesRecorded
from store.postgres import functions

BATCH = 1000  # trades a query
Row = tuple[int, str]  # line number, the trade as JSON


class TradesRejected(StoreError):
    """The file can't be taken; nothing of it was. The detail names lines and columns, no values."""


async def import_trades(
    store: Core, file: BinaryIO, progress: Callable[[int], None] = lambda _: None
) -> TradesRecorded:
    """Record the trades of a file, each with its okx_uid, in one transaction: all or none.

    Trades recorded before are passed over, so it may be repeated. A file whose first sign is { has a JSON object a
    line, any other is CSV with a header; an empty cell is a column that isn't given. While it runs, its users can't be
    linked, deleted or erased. Raises TradesRejected.
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
        found.append((line, f"line {line}: {key}: {why}" if is_placed else f"from line {line} on: {why}"))
    return "\n".join(text for _, text in sorted(found))


def _rows(file: BinaryIO) -> Iterator[Row]:
    """Read a file's trades. Raises TradesRejected, naming the line."""
    lines = _lines(file)
    blank: list[str] = []
    for line in lines:
        if line.strip():
            rest = chain(blank, [line], lines)
            yield from (_json_rows(rest) if line.lstrip().startswith("{") else _csv_rows(rest))
            return
        blank.append(line)


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


def _json_rows(lines: Iterator[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            trade = json.loads(line, parse_constant=refuse_constant, object_pairs_hook=unique)
            json_text(trade)
            problem = "" if isinstance(trade, dict) else "not a JSON object"
        except json.JSONDecodeError as error:
            problem = f"{error.msg} (column {error.colno})"
        except DuplicateKey:
            problem = "a key is there twice"
        except RecursionError:
            problem = "nested too deep"
        except InvalidSettings as error:
            problem = "; ".join(f"{key}: {why}" for key, why in error.problems.items())
        except ValueError as error:
            problem = str(error)
        if problem:
            raise _rejected(number, problem)
        yield number, line.strip()


def _csv_rows(lines: Iterator[str]) -> Iterator[Row]:
    reader = csv.reader(lines, strict=True)
    problem = ""
    try:
        header = [name.strip() for name in next(reader)]
        while not any(header):
            header = [name.strip() for name in next(reader)]
        if len(set(header)) < len(header):
            problem = "two columns have the same name"
        while not problem:
            start = reader.line_num + 1
            cells = next(reader)
            if len(cells) == len(header):
                yield start, _csv_trade(dict(zip(header, cells, strict=True)))
            elif cells:
                problem = f"{len(cells)} cells, but the header has {len(header)}"
    except StopIteration:
        return
    except (csv.Error, ValueError) as error:
        problem = str(error)
    raise _rejected(reader.line_num, problem)


def _csv_trade(cells: dict[str, str]) -> str:
    """Write a row as JSON: every cell a text, which PostgreSQL reads; but extra, which is JSON itself."""
    given = {name: unguarded(text.strip()) for name, text in cells.items() if text.strip()}
    extra = given.pop("extra", None)
    trade = json.dumps(given, ensure_ascii=False)
    if extra is None:
        return trade
    try:
        json.loads(extra, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise ValueError("extra is not JSON") from None
    return f'{trade[:-1]}{", " if given else ""}"extra": {extra}}}'


def _rejected(line: int, problem: str) -> TradesRejected:
    return TradesRejected(_REJECTED, detail=f"line {line}: {problem}")
