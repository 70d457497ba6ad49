"""Exchange: users with their settings as readable JSON, out and in. No credentials; every digit is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO

from store.api.base import Core, check_identifier
from store.api.history import key_changes
from store.batches import cut, halve
from store.errors import InvalidSettings, StoreError
from store.json_reader import DuplicateKey, NotJson, Reader, decoded, find_fault
from store.json_writer import shown_key
from store.mirror.keys import OKX_UID
from store.models import KeyChange
from store.postgres import functions
from store.shown import shown_json

FORMAT = "settings-store export"
VERSION = 1
PAGE = 500  # users a query
NAMED = 50  # problems told


class ImportRejected(StoreError):
    """The file can't be taken; nothing of it was. The detail names lines and keys, no values."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import does, or would do, to a user (setting_type None) or document. `outcome`: new, changed,
    unchanged. `left_out`: masked secrets without a current value. `missing_keys`: as in SavedSetting."""

    okx_uid: str
    setting_type: str | None
    outcome: str
    changes: list[KeyChange]
    left_out: int
    missing_keys: list[str] = field(default_factory=list)


@dataclass
class ImportReport:
    """Counts by outcome, and whether Redis has it all already. `incomplete`: how many documents lack keys that the
    catalogue lists."""

    users: Counter[str] = field(default_factory=Counter)
    documents: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    mirrored: bool = False
    incomplete: int = 0


@dataclass(frozen=True, slots=True)
class _Piece:
    """The text of one user, and where it begins."""

    okx_uid: str
    telegram_id: str
    start: int
    text: str


_Compared = tuple[_Piece, dict[str, Any]]


async def export_users(
    store: Core,
    file: BinaryIO,
    identifiers: Sequence[str] | None = None,
    *,
    with_secrets: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write users (None: all) with their active settings, as of one moment; return how many.

    The same data make the same bytes. Secrets are masked unless `with_secrets`. Raises UnknownUser.
    """
    whom = None if identifiers is None else [check_identifier(identifier) for identifier in identifiers]
    head = {"format": FORMAT, "version": VERSION, "users": []}
    begin = json.dumps(head, indent=4).removesuffix("]\n}").encode()
    count, after = 0, None
    async with store._connections.database.transaction(snapshot=True) as transaction:
        while True:
            rows = await transaction.fetch(functions.files.export_users(whom, with_secrets, after, PAGE))
            file.write(begin)  # not before: the first query may refuse an identifier
            begin = b""
            if not rows:
                break
            for row in rows:
                document = shown_json(row["document"]).replace("\n", "\n" + " " * 8)
                file.write(f"{',' if count else ''}\n{' ' * 8}{document}".encode())
                count += 1
            progress(len(rows))
            after = rows[-1]["okx_uid"]
    file.write(b"\n    ]\n}\n" if count else b"]\n}\n")
    return count


async def import_users(
    store: Core,
    data: bytes,
    *,
    dry_run: bool = False,
    tell: Callable[[Imported], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
    expect: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """Take users with settings from what export_users() wrote, in one transaction: all or none.

    Users and types that aren't in it stay as they are. `tell` hears of every user and document, `progress` of users
    compared and users written, `expect` of their sum, before. Raises ImportRejected, which names lines and keys.
    """
    text = _text(data)
    pieces = sorted(_pieces(text), key=lambda piece: piece.okx_uid)  # everybody locks users in this order
    expect(len(pieces) if dry_run else 2 * len(pieces))
    _check_unique(text, pieces)
    problems: list[str] = []
    report = ImportReport()
    for batch in _batches(pieces):
        for piece, row in await _compare(store, text, batch, problems):
            if row["problems"]:
                problems += _problem_lines(text, piece, row)
            else:
                _count(report, row)
                tell(_imported(row))
        progress(len(batch))
    if problems:
        raise _rejected(problems)
    if not dry_run:
        await _write(store, pieces, report, progress)
    return report


async def _compare(store: Core, text: str, batch: Sequence[_Piece], problems: list[str]) -> list[_Compared]:
    """Have PostgreSQL compare; if it can't read a batch, find out which user it is."""

    async def compare(pieces: Sequence[_Piece]) -> list[_Compared]:
        rows = await store._connections.database.fetch(store._by(functions.files.import_users(_array(pieces), True)))
        return [(pieces[row["position"] - 1], row) for row in rows]

    def refused(piece: _Piece, error: StoreError) -> list[_Compared]:
        problems.append(f"line {_line(text, piece.start)}: {error}")
        return []

    return await halve(batch, compare, refused, InvalidSettings)


async def _write(store: Core, pieces: Sequence[_Piece], report: ImportReport, progress: Callable[[int], None]) -> None:
    async with store._connections.database.transaction() as transaction:
        for batch in _batches(pieces):
            await transaction.fetch(store._by(functions.files.import_users(_array(batch), False)))
            progress(len(batch))
    report.mirrored = await store._mirror_owners(None)


def _text(data: bytes) -> str:
    try:
        return decoded(data)
    except NotJson as error:
        problem = str(error)
    raise ImportRejected("not an export", detail=problem)


def _pieces(text: str) -> list[_Piece]:
    """Cut the file into users. Raises ImportRejected, naming the line."""
    problem, at = "", 0
    reader = Reader(text)
    try:
        pieces, head, keys = [], {}, set()
        for key in reader.members():
            if key in keys:
                raise DuplicateKey(key)
            keys.add(key)
            if key != "users":
                head[key] = reader.value()[0]
                continue
            for _ in reader.elements():
                at = reader.at
                user, start, end = reader.value()
                fields = user if isinstance(user, dict) else {}
                okx_uid, telegram_id = (str(fields.get(key)) for key in ("okx_uid", "telegram_id"))
                pieces.append(_Piece(okx_uid, telegram_id, start, text[start:end]))
        reader.end()
        if head == {"format": FORMAT, "version": str(VERSION)} and "users" in keys:
            return pieces
        problem = f'"format" must be "{FORMAT}" and "version" {VERSION}, and "users" is all there is besides'
    except json.JSONDecodeError as error:
        problem, at = f"{error.msg} (column {error.colno})", error.pos
    except RecursionError:
        problem, at = "nested too deep", max(at, reader.at)
    except ValueError as error:
        problem, at = str(error), find_fault(text)
    raise ImportRejected("not an export", detail=f"line {_line(text, at)}: {problem}")


def _check_unique(text: str, pieces: Sequence[_Piece]) -> None:
    twice = [
        f"line {_line(text, piece.start)}: {_whose(piece.okx_uid)} is there twice"
        for before, piece in pairwise(pieces)
        if before.okx_uid == piece.okx_uid != "None"
    ]
    linked = sorted(pieces, key=lambda piece: (piece.telegram_id, piece.start))
    twice += [
        f"line {_line(text, at)}: {_whose(piece.okx_uid)}, telegram_id: is there twice"
        for before, piece in pairwise(linked)
        if before.telegram_id == piece.telegram_id != "None"
        for at in [_find(text, piece.start, ["telegram_id"])]
    ]
    if twice:
        raise _rejected(twice)


def _batches(pieces: Sequence[_Piece]) -> Iterator[Sequence[_Piece]]:
    return cut(pieces, lambda piece: len(piece.text), count=PAGE)


def _array(batch: Sequence[_Piece]) -> str:
    return f"[{','.join(piece.text for piece in batch)}]"


def _count(report: ImportReport, row: dict[str, Any]) -> None:
    (report.users if row["setting_type"] is None else report.documents)[row["outcome"]] += 1
    report.left_out += row["left_out"]
    report.incomplete += bool(row["missing_keys"]) and row["outcome"] != "unchanged"


def _imported(row: dict[str, Any]) -> Imported:
    changes = key_changes(row["changes"] or [])
    return Imported(row["okx_uid"], row["setting_type"], row["outcome"], changes, row["left_out"], row["missing_keys"])


def _problem_lines(text: str, piece: _Piece, row: dict[str, Any]) -> Iterator[str]:
    """Name each problem of a user or document by its line and key."""
    whose, kind = _whose(row["okx_uid"]), row["setting_type"]
    for key, problem in sorted(row["problems"].items()):
        path = [key] if kind is None else ["settings", kind, key]
        line = _line(text, _find(text, piece.start, [step for step in path if step != "$"]))
        yield f"line {line}: {whose}, {'.'.join(map(shown_key, path[1:] if kind else path))}: {problem}"


def _find(text: str, start: int, path: Sequence[str]) -> int:
    """Find where the value at a path begins, or what is nearest to it."""
    reader = Reader(text, start)
    for step in path:
        at = reader.at
        if text[at] != "{":
            return at
        for key in reader.members():
            if key == step:
                break
            reader.value()
        else:
            return at
    return reader.at


def _whose(okx_uid: str | None) -> str:
    return okx_uid if okx_uid and OKX_UID.fullmatch(okx_uid) else "a user"  # anything else may be a secret


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _rejected(problems: list[str]) -> ImportRejected:
    problems.sort(key=lambda problem: int(problem.split(":")[0].removeprefix("line ")))
    more = [f"and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return ImportRejected(
        f"the file was rejected as a whole: {count}; nothing was changed", detail="\n".join(problems[:NAMED] + more)
    )
