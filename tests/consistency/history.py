"""Histories: what every process called and was told, on the machine's one monotonic clock, as JSON lines.

A call is two lines, `{"i": id, "f": what, "t": ns, …arguments}` and `{"i": id, "t": ns, "ok": result}`, or instead of
`ok` a `no` (refused: nothing was done) or an `err` (whether it was done is unknown), with the error's name. A call
whose second line is missing never returned. What a watch yields is one line, `{"w": watcher, "t": ns, …}`,
what the feed does `{"fed": watcher, …}`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, TextIO

ENDLESS = 2**62  # ns: the end of a call that never returned
SECOND = 1_000_000_000  # ns

Read = tuple[str, str, int, str, str, str | None]  # owner, kind, version, digest, source, Telegram ID


def now() -> int:
    """Read the clock that all processes of the machine share, in ns."""
    return time.monotonic_ns()


def digest(document: Mapping[str, Any]) -> str:
    """Shorten a document, for comparison; its token `n` is kept readable."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f"{document.get('n')}:{blake2b(text.encode(), digest_size=8).hexdigest()}"


def token(digest_: str) -> str:
    """Return the token in a digest: which call wrote the document."""
    return digest_.partition(":")[0]


@dataclass(slots=True)
class Op:
    """A call. `outcome`: ok, no (refused), err (unknown) or '' (never returned)."""

    id: int
    f: str
    start: int
    args: dict[str, Any]
    end: int = ENDLESS
    outcome: str = ""
    result: Any = None

    @property
    def is_done(self) -> bool:
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True)
class Watched:
    """What a watcher was told."""

    watcher: int
    at: int
    owner: str
    kind: str
    version: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What the nemesis did. `is_lossy`: Redis may have gone back to an older state, until it was seen to be right again
    at the end. `is_redis`: connections to Redis may have broken."""

    name: str
    start: int
    end: int
    is_lossy: bool = False
    is_redis: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the ledger, which a trigger of the checker's own writes in the same transaction as what it notes: in
    this order things happened to a key. `op`: the call it says it was done for, None if none of a client's."""

    seq: int
    owner: str
    kind: str
    version: int
    digest: str
    is_deleted: bool
    op: int | None
    note: str  # who else it was done for; of a user the Telegram ID, of a Telegram ID the owner


@dataclass
class History:
    """A round: calls, what was watched, the feed, faults, the ledger, and both stores as they were at the end."""

    ops: dict[int, Op] = field(default_factory=dict)
    watched: list[Watched] = field(default_factory=list)
    fed: list[Watched] = field(default_factory=list)  # by changes()
    faults: list[Fault] = field(default_factory=list)
    ledger: list[Row] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)  # is_rogue, what the harness itself found wrong


class Recorder:
    """Writes one process's calls, each line as it happens: a process that is killed leaves what it did."""

    def __init__(self, file: TextIO, first: int = 0) -> None:
        self._file = file
        self._next = first

    def begin(self, f: str, **args: Any) -> int:
        """Note that a call begins; return its id. Its time is taken last."""
        op = self._next
        self._next += 1
        line = json.dumps({"i": op, "f": f, **args})
        self._file.write(f'{line[:-1]}, "t": {now()}}}\n')
        return op

    def end(self, op: int, outcome: str, result: Any) -> None:
        """Note how a call ended. Its time is taken first."""
        at = now()
        self._file.write(json.dumps({"i": op, "t": at, outcome: result}) + "\n")

    def watched(self, watcher: int, owner: str, kind: str, version: int, by: str = "w") -> None:
        self._file.write(json.dumps({by: watcher, "t": now(), "o": owner, "k": kind, "v": version}) + "\n")


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """Read a file's lines, but for one that was torn by a kill."""
    with file.open(encoding="utf-8") as opened:
        for line in opened:
            if line.endswith("\n"):
                yield json.loads(line)


def load(folder: Path) -> History:
    """Read the history of a round."""
    history = History()
    for file in sorted(folder.glob("client-*.jsonl")):
        for line in lines(file):
            if "fed" in line:
                history.fed.append(Watched(line["fed"], line["t"], line["o"], line["k"], line["v"]))
            elif "w" in line:
                history.watched.append(Watched(line["w"], line["t"], line["o"], line["k"], line["v"]))
            elif "f" in line:
                id_, f, start = line.pop("i"), line.pop("f"), line.pop("t")
                history.ops[id_] = Op(id_, f, start, line)
            elif (op := history.ops.get(line["i"])) is not None:
                op.end = line["t"]
                op.outcome = next(name for name in ("ok", "no", "err") if name in line)
                op.result = line[op.outcome]
    history.faults = [Fault(**line) for line in lines(folder / "faults.jsonl")]
    history.ledger = [Row(*line["row"]) for line in lines(folder / "ledger.jsonl")]
    history.final = json.loads((folder / "final.json").read_text(encoding="utf-8"))
    history.notes = json.loads((folder / "notes.json").read_text(encoding="utf-8"))
    return history
