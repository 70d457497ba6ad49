"""What happened to each key, in PostgreSQL's order, and what was known of that at which moment."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from tests.consistency.history import SECOND, Fault, History, Op, Read, Row

CACHE = 2 * SECOND  # ns: a hit of the cache is what Redis held that long ago, or later
DOCUMENT_READS = ("get", "get_all", "get_many")
FOUND = "found in Redis, lost against PostgreSQL"
CHANGES_OF_USERS = ("link", "unlink", "erase", "delete_user", "restore_user")

Key = tuple[str, str]  # owner, kind


@dataclass
class Known:
    """From which moment on which position of a key was known to have been reached."""

    _told: list[tuple[int, int]] = field(default_factory=list)

    def add(self, at: int, position: int) -> None:
        self._told.append((at, position))

    @cached_property
    def _rising(self) -> tuple[list[int], list[int]]:
        times, positions, highest = [], [], -1
        for at, position in sorted(self._told):
            if position > highest:
                times.append(at)
                positions.append(position)
                highest = position
        return times, positions

    def at(self, moment: int) -> int:
        """The position known before a moment; -1: none."""
        times, positions = self._rising
        index = bisect_right(times, moment) - 1
        return positions[index] if index >= 0 else -1

    def since(self, position: int) -> int | None:
        """When a later position than this became known; None: never."""
        times, positions = self._rising
        index = bisect_right(positions, position)
        return times[index] if index < len(times) else None


@dataclass
class Chain:
    """The states of a key, in order. Position -1: it hadn't been there yet. An erasure is a state of every key of the
    person, and versions begin anew after it."""

    rows: list[Row] = field(default_factory=list)
    committed: Known = field(default_factory=Known)  # in PostgreSQL
    mirrored: Known = field(default_factory=Known)  # in Redis

    @cached_property
    def _places(self) -> dict[tuple[int, str] | int | str, list[int]]:
        places: dict[tuple[int, str] | int | str, list[int]] = defaultdict(list)
        for position, row in enumerate(self.rows):
            if row.kind == "erased":  # Redis hears of it as of the version after
                before = self.rows[position - 1] if position else row
                places[1 + (0 if before.kind == "erased" else before.version)].append(position)
            else:
                for key in ((row.version, row.digest), row.version, row.digest):
                    places[key].append(position)
        return places

    def find(self, what: tuple[int, str] | int | str) -> list[int]:
        """Find the positions of a version with a content, a version, or a content."""
        return self._places.get(what, [])

    @cached_property
    def absent(self) -> list[int]:
        """Positions at which nothing is there."""
        return [-1, *(position for position, row in enumerate(self.rows) if row.is_deleted)]

    @cached_property
    def noted(self) -> dict[str, list[int]]:
        """Positions of a user, by the Telegram ID, or of a Telegram ID, by whom it leads to."""
        noted = defaultdict(list, {"": [-1]})
        for position, row in enumerate(self.rows):
            noted[row.note].append(position)
        return noted

    def lives(self) -> Iterator[list[tuple[int, Row]]]:
        """Go through what lies between erasures, with positions."""
        life: list[tuple[int, Row]] = []
        for position, row in enumerate(self.rows):
            if row.kind == "erased":
                yield life
                life = []
            else:
                life.append((position, row))
        yield life

    def back_from_erasure(self) -> set[int]:
        """The versions, by `seq`, that an older state of Redis made: it had what this person left before an erasure,
        and who registers again is another. Found, and put back."""
        versions, before = set(), set[str]()
        for life in self.lives():
            for (_, row), (_, after) in pairwise(life):
                if row.note == FOUND and row.digest in before:
                    versions |= {row.seq, after.seq}
            before |= {row.digest for _, row in life}
        return versions


class Truth:
    """The chains of a history, with what its calls proved."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.chains: dict[Key, Chain] = defaultdict(Chain)
        self.by_op: dict[int, list[tuple[Key, int]]] = defaultdict(list)
        self._lossy = [fault for fault in history.faults if fault.is_lossy]
        self._lay()
        chains = self.chains.values() if self._lossy else ()
        self.back_from_erasure = {seq for chain in chains for seq in chain.back_from_erasure()}
        self.own: dict[tuple[int, Key], Known] = defaultdict(Known)  # what a store saved itself, and Redis had
        for op in history.ops.values():
            if op.is_done:
                self._learn(op)
        for told in history.watched:
            self._proved((told.owner, told.kind), told.version, told.at, is_mirrored=True)

    def _lay(self) -> None:
        of_owner: dict[str, set[Key]] = defaultdict(set)
        for row in self.history.ledger:
            # Whoever had no API keys: Redis is to lose some nevertheless.
            of_owner[row.owner].add((row.owner, "api_keys" if row.kind == "erased" else row.kind))
        for row in self.history.ledger:
            for key in sorted(of_owner[row.owner]) if row.kind == "erased" else [(row.owner, row.kind)]:
                self.chains[key].rows.append(row)
                if row.op is not None:
                    self.by_op[row.op].append((key, len(self.chains[key].rows) - 1))

    def _proved(self, key: Key, what: tuple[int, str] | int | str, at: int, *, is_mirrored: bool) -> None:
        """Note that a state was there: the first that it may have been."""
        chain = self.chains[key]
        for position in chain.find(what):
            if self.may_have_begun(key, position, at):
                chain.committed.add(at, position)
                if is_mirrored:
                    chain.mirrored.add(at, position)
                return

    def _learn(self, op: Op) -> None:
        """Note what a call proved when it returned."""
        says_mirrored = op.f in CHANGES_OF_USERS and op.result[0] in (True, None)
        for key, position in self.by_op.get(op.id, ()):
            self.chains[key].committed.add(op.end, position)
            if says_mirrored:
                self.chains[key].mirrored.add(op.end, position)
        for owner, kind, version, content, source, _ in reads_of(op):
            if not is_rogue(content):
                self._proved((owner, kind), (version, content), op.end, is_mirrored=source == "redis")
        if op.f == "raw_redis" and op.result is not None and not is_rogue(op.result):
            self._proved((op.args["o"], op.args["k"]), op.result, op.end, is_mirrored=True)
        if op.f == "get_keys" and op.result is not None:
            self._proved((op.args["o"], "api_keys"), op.result[0], op.end, is_mirrored=op.result[3] == "redis")
        for owner, kind, version, is_mirrored, saved in saves_of(op):
            key, what = (owner, kind), (version, saved) if saved else version
            self._proved(key, what, op.end, is_mirrored=is_mirrored)
            if is_mirrored:
                for position in self.chains[key].find(what)[:1]:
                    self.own[op.args["s"], key].add(op.end, position)

    def least(self, key: Key, op: Op, source: str) -> int:
        """The position that a read of this source must have reached: what was known before it began; of a hit of the
        cache, what Redis was known to hold two seconds before, and what this store itself had saved."""
        chain = self.chains[key]
        if source == "db":
            return chain.committed.at(op.start)
        is_cached = op.args.get("c") and op.f in DOCUMENT_READS and op.args.get("source") is None
        since = op.start - (CACHE if is_cached else 0)
        if any(fault.start <= op.end and since <= fault.end for fault in self._lossy):
            return -1
        own = self.own[op.args["s"], key].at(op.start) if is_cached else -1
        return max(chain.mirrored.at(since), own)

    def may_have_begun(self, key: Key, position: int, moment: int) -> bool:
        """Tell whether the call that brought a state had begun by then; or, where that is unknown, the last before it
        that is known."""
        rows = self.chains[key].rows
        while position >= 0:
            op = self.history.ops.get(rows[position].op or -1)
            if op is not None:
                return op.start <= moment
            position -= 1
        return True

    def can_be(self, key: Key, op: Op, source: str, positions: Sequence[int]) -> bool:
        """Tell whether a read may have seen one of these positions, which rise."""
        first = bisect_left(positions, self.least(key, op, source))
        return any(self.may_have_begun(key, position, op.end) for position in positions[first:])


def is_rogue(content: str) -> bool:
    """Tell whether a document was written into Redis behind the store's back: it is there before it is a version."""
    return content.startswith("-") and not content.startswith("-1:")


def reads_of(op: Op) -> list[Read]:
    """List the documents that a call of the store has read."""
    if not op.is_done or op.result is None:
        return []
    if op.f in DOCUMENT_READS:
        return [tuple(op.result)] if op.f == "get" else list(map(tuple, op.result))
    return []


SAVES = ("save", "cas", "patch", "update", "raw_sql", "delete", "restore", "rollback", "save_keys", "delete_keys")


def saves_of(op: Op) -> list[tuple[str, str, int, bool, str | None]]:
    """List what a call has saved: whose, kind, version, whether Redis has it, digest."""
    if not op.is_done or op.result is None:
        return []
    if op.f == "save_many":
        return list(map(tuple, op.result))
    if op.f in ("save_all", "register"):
        return [(op.args["o"], kind, version, mirrored, content) for kind, version, mirrored, content in op.result]
    if op.f in SAVES:
        kind, version, mirrored, content = op.result[:4]
        return [(op.args["o"], kind, version, mirrored, content)]
    return []


def lossless(faults: Iterable[Fault]) -> bool:
    """Tell whether nothing was taken from Redis in all this time."""
    takes = ("flushed", "evicted", "empty")
    return not any(fault.is_lossy or any(word in fault.name for word in takes) for fault in faults)
