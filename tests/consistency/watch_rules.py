"""Rules of what a watch yields; see checker.py."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from tests.consistency.history import SECOND, Watched
from tests.consistency.truth import Key, Truth
from tests.consistency.violation import Violation, broken

RECONNECTED = 10 * SECOND  # ns after a fault of Redis in which a watcher is surely there again
MESSAGE = SECOND  # ns that a message may be under way


def check(truth: Truth) -> Iterator[Violation]:
    told: dict[int, list[Watched]] = defaultdict(list)
    for watched in truth.history.watched:
        told[watched.watcher].append(watched)
    for watcher, changes in told.items():
        changes.sort(key=lambda change: change.at)
        seen: dict[Key, list[int]] = defaultdict(list)  # positions
        for change in changes:
            key = change.owner, change.kind
            last = seen[key][-1] if seen[key] else -1
            later = [
                position
                for position in truth.chains[key].find(change.version)
                if position > last and truth.may_have_begun(key, position, change.at)
            ]
            if later:
                seen[key].append(later[0])
            elif truth.history.notes.get("is_rogue") and not truth.chains[key].find(change.version):
                pass  # what somebody else wrote goes, where PostgreSQL has nothing: Redis counts on from its own
            elif not _was_erased(truth, key, change.at):
                yield broken("watch order", f"{change} after position {last}")
        yield from _complete(truth, watcher, changes[0].at, seen)
        yield from _newest(truth, watcher, changes[0].at, seen)


def _was_erased(truth: Truth, key: Key, moment: int) -> bool:
    """Tell whether this may be an erasure that Redis hears of again (it had an older copy, or symbols that PostgreSQL
    didn't know): it counts on from its own version then."""
    rows = truth.chains[key].rows
    return any(row.kind == "erased" and truth.may_have_begun(key, at, moment) for at, row in enumerate(rows))


def _complete(truth: Truth, watcher: int, since: int, seen: dict[Key, list[int]]) -> Iterator[Violation]:
    """Versions that were in Redis before the next write of their key began must have come."""
    breaks = [(fault.start - MESSAGE, fault.end + RECONNECTED) for fault in truth.history.faults if fault.is_redis]
    for key, chain in list(truth.chains.items()):
        for position, row in enumerate(chain.rows[:-1]):
            op = truth.history.ops.get(row.op or -1)
            following = truth.history.ops.get(chain.rows[position + 1].op or -1)
            if row.kind == "erased":
                break
            if op is None or following is None or op.f not in ("save", "patch", "cas", "rollback", "restore", "delete"):
                continue
            if not op.is_done or not op.result[2] or following.start < op.end or op.start < since:
                continue
            if any(start <= op.end and op.start <= end for start, end in breaks):
                continue
            index = bisect_left(seen[key], position)
            if index == len(seen[key]) or seen[key][index] != position:
                yield broken("watch complete", f"watcher {watcher} wasn't told of {row}", op)


def _newest(truth: Truth, watcher: int, since: int, seen: dict[Key, list[int]]) -> Iterator[Violation]:
    """The newest version of every document that changed must have come in the end."""
    for key, chain in list(truth.chains.items()):
        if key[1] in ("user", "telegram") or not chain.rows or any(row.kind == "erased" for row in chain.rows):
            continue
        op = truth.history.ops.get(chain.rows[-1].op or -1)
        if op is not None and op.start < since:
            continue
        if not seen[key] or chain.rows[seen[key][-1]].version != chain.rows[-1].version:
            yield broken("watch complete", f"watcher {watcher} wasn't told of the newest, {chain.rows[-1]}")
