"""Trade files: CSV with a header, or JSON (objects, or an array), into the store in one transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timezone
from itertools import islice
from typing import Any, BinaryIO

from store.api.base import Core
from store.errors import InvalidArgument, InvalidSettings, StoreError
from store.files import trade_formats as formats
from store.files.rows import CELL, BadRow, Text, csv_rows, json_rows
from store.files.spreadsheet import unguarded
from store.files.trade_formats import NEEDED, Format
from store.files.unpacked import Unpacked
from store.json_reader import NotJson, Stream, Untakeable, parse
from store.json_writer import json_text, shown_key
from store.models import TradesRecorded
from store.postgres import functions

BATCH = 1000  # trades a query
Row = tuple[int, str]  # line number, the trade as JSON


class TradesRejected(StoreError):
    """The file can't be taken; nothing of it was. The detail names lines and columns, no values."""


@dataclass(slots=True)
class _Reading:
    """What is known of a file beside what is in it, and how many positions of it aren't closed."""

    okx_uid: str | None
    zone: timezone | None
    find: Callable[[Iterable[str]], Format | None]  # the format, by keys or a header; None: the store's own
    still_open: int = 0


async def import_trades(
    store: Core,
    file: BinaryIO,
    progress: Callable[[int], None] = lambda _: None,
    *,
    user: str | None = None,
    format: str | None = None,
    utc_offset: str | None = None,
    still_open: Callable[[int], None] = lambda _: None,
) -> TradesRecorded:
    """Record the trades of a file in one transaction: all or none.

    Trades recorded before are passed over, so it may be repeated. A file whose first sign is { or [ is JSON, any other
    CSV with a header, where an empty cell is a column that isn't given; plain, gz or zip. `format`: store, okx or
    freqtrade (docs/files.md); None: as it looks. `user`: whose trades these are, if the file doesn't say it;
    `utc_offset`: of its times, as +09:00, if they don't say it. `still_open` is told of how many positions were passed
    over, as they weren't closed. While it runs, its users can't be linked, deleted or erased. Raises TradesRejected,
    UnknownUser, InvalidArgument (an unknown format or offset, a file that can't be unpacked).
    """
    zone = None if utc_offset is None else formats.offset(utc_offset)
    if utc_offset is not None and zone is None:
        raise InvalidArgument("utc_offset must be as +09:00")
    if format not in (None, *formats.NAMES):
        raise InvalidArgument("no such format of trade files", hint=f"Known: {', '.join(formats.NAMES)}.")
    okx_uid = None if user is None else (await store._user(user))["okx_uid"]
    reading = _Reading(okx_uid, zone, (lambda _: formats.FORMATS.get(format)) if format else formats.by_keys)
    recorded = known = 0
    async with Unpacked(file) as source:
        await source.settle()
        rows = _rows(Text(source.read_now, CELL), reading)
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
    still_open(reading.still_open)
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


def _rows(text: Text, reading: _Reading) -> Iterator[Row]:
    """Read a file's trades. Raises TradesRejected, naming the line."""
    try:
        first = text.first()
        if not first:
            raise BadRow("line 1", "the file is empty")
        yield from _json_trades(text, reading) if first in "{[" else _csv_trades(text, reading)
        return
    except BadRow as error:
        problem = str(error)
    raise TradesRejected(_REJECTED, detail=problem)


def _json_trades(text: Text, reading: _Reading) -> Iterator[Row]:
    for line, item, written in json_rows(Stream(text.block, CELL)):
        problem = "not a JSON object"
        try:
            if isinstance(item, dict):
                json_text(item)
                yield from _trades(line, item, written, reading.find(item), reading)
                continue
        except InvalidSettings as error:
            problem = "; ".join(f"{key}: {why}" for key, why in error.problems.items())
        except ValueError as error:
            problem = str(error)
        raise BadRow(f"line {line}", problem)


def _csv_trades(text: Text, reading: _Reading) -> Iterator[Row]:
    rows = csv_rows(text.lines())
    line, cells = next(rows)
    if cells[0].startswith("UID"):  # a line of OKX before its header
        _learn(line, " ".join(cells), reading)
        line, cells = next(rows, (line, cells))
    header = [name.strip() for name in cells]
    form = reading.find(header)
    if form:
        header = formats.renamed(form, header)
    needed = (
        [name for name in NEEDED if name != "okx_uid" or reading.okx_uid is None] if form is None else sorted(form.keys)
    )
    if missing := [name for name in needed if name not in header]:
        raise BadRow(f"line {line}", f"not a header of trades: no column {', '.join(missing)}")
    if len(set(header)) < len(header):
        raise BadRow(f"line {line}", "two columns have the same name")
    for line, cells in rows:
        try:
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} cells, but the header has {len(header)}")
            given = {name: unguarded(cell.strip()) for name, cell in zip(header, cells, strict=True) if cell.strip()}
            yield from _trades(line, given, "" if form else _csv_trade(given), form, reading)
        except ValueError as error:
            raise BadRow(f"line {line}", str(error)) from None


def _trades(line: int, given: dict[str, Any], written: str, form: Format | None, reading: _Reading) -> Iterator[Row]:
    """Yield the trade as JSON, if the position was closed. Raises ValueError."""
    if form:
        trade = formats.convert(form, given, reading.zone)
        if trade is None:
            reading.still_open += 1
            return
        given, written = trade, json_text(trade)
        if reading.okx_uid is None:
            raise ValueError("whose trade it is the file doesn't say: --user")
    if reading.okx_uid is not None:
        if given.get("okx_uid", reading.okx_uid) != reading.okx_uid:
            raise ValueError("okx_uid: is another one than that of --user")
        if "okx_uid" not in given:
            written = f'{{"okx_uid": "{reading.okx_uid}"{", " if given else ""}{written[1:]}'
    yield line, written


def _learn(line: int, text: str, reading: _Reading) -> None:
    """Take whose a file is and the time zone of its times from a line as OKX writes it. Raises BadRow."""
    uid = re.search(r"UID[:\s]*(\d{1,30})", text, re.ASCII)
    if uid and reading.okx_uid not in (None, uid[1]):
        raise BadRow(f"line {line}", "the UID is another one than that of --user")
    zone = re.search(r"Time Zone[:\s]*(\S+)", text, re.ASCII)
    told = formats.offset(zone[1]) if zone else None
    if told and reading.zone not in (None, told):
        raise BadRow(f"line {line}", "the time zone is another one than --utc-offset")
    reading.okx_uid, reading.zone = uid[1] if uid else reading.okx_uid, told or reading.zone


def _csv_trade(given: dict[str, str]) -> str:
    """Write a row as JSON: every cell a text, which PostgreSQL reads; but extra, which is JSON itself."""
    rest = {name: text for name, text in given.items() if name != "extra"}
    trade, extra = json.dumps(rest, ensure_ascii=False), given.get("extra")
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
    return f'{trade[:-1]}{", " if rest else ""}"extra": {extra}}}'
