"""Rules of writes; see checker.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tests.consistency.history import Op, Row, token
from tests.consistency.truth import FOUND, Chain, Key, Truth, lossless, saves_of
from tests.consistency.violation import Violation, broken

# What they write is never there already.
NEW = ("save", "cas", "patch", "update", "raw_sql", "save_all", "save_many", "save_keys")
NOT_DOCUMENTS = ("user", "telegram", "erased")


def check(truth: Truth) -> Iterator[Violation]:
    for op in truth.history.ops.values():
        if op.outcome == "no":
            for key, position in truth.by_op.get(op.id, ()):
                yield broken("refused", f"yet it made {truth.chains[key].rows[position]}", op)
        for owner, kind, version, _, content in saves_of(op):
            yield from _acknowledged(truth, op, (owner, kind), version, content)
        if op.f == "save_many":
            made = {key[0] for key, _ in truth.by_op.get(op.id, ())}
            if made and made != set(op.args["os"]):
                yield broken("whole", f"it saved the documents of {sorted(made)} only", op)
    for op_id, places in truth.by_op.items():
        keys = [key for key, _ in places if key[1] not in NOT_DOCUMENTS]
        if op_id not in truth.history.ops:
            yield broken("invented", f"nobody made the call {op_id} of {keys}")
        rows = {truth.chains[key].rows[position].seq for key, position in places if key in keys}
        if len(rows) > len(set(keys)):
            yield broken("twice", f"{keys}", truth.history.ops.get(op_id))
    allowed = set(truth.history.notes.get("reasons", ()))
    for row in truth.history.ledger:
        is_ours = row.op is not None or row.kind in NOT_DOCUMENTS or row.note in allowed
        is_ours = is_ours or row.seq in truth.back_from_erasure
        if not is_ours and not truth.history.notes.get("is_rogue"):
            yield broken("invented", f"nobody says that he made {row}")
    yield from _histories(truth)
    yield from _kept(truth)


def _acknowledged(truth: Truth, op: Op, key: Key, version: int, content: str | None) -> Iterator[Violation]:
    chain = truth.chains[key]
    mine = [(position, chain.rows[position]) for at, position in truth.by_op.get(op.id, ()) if at == key]
    if not mine:
        if op.f in NEW or not (chain.find((version, content)) if content else chain.find(version)):
            yield broken("lost", f"{key} version {version} isn't there", op)
        return
    position, row = mine[0]
    is_put_back = content and any(
        truth.history.notes.get("is_rogue") or chain.rows[place].seq in truth.back_from_erasure
        for place in chain.find((version, content))
    )
    if row.version != version and not is_put_back:
        yield broken("lost", f"it made version {row.version}", op)
    elif content is not None and row.digest != content:
        yield broken("lost", f"PostgreSQL has {row.digest}", op)
    if op.f in ("save", "patch", "update", "save_many") and token(row.digest) != str(op.id):
        yield broken("lost", f"PostgreSQL has {row.digest}", op)
    yield from _as_promised(chain, op, position, row)


def _as_promised(chain: Chain, op: Op, position: int, row: Row) -> Iterator[Violation]:
    """What a kind of write promises beyond having been done."""
    before = chain.rows[:position]
    if op.f == "cas" and row.version != op.args["v"] + 1:
        yield broken("expected", f"it made version {row.version}", op)
    if op.f == "update" and before and not before[-1].is_deleted and token(before[-1].digest) != op.result[4]:
        yield broken("expected", f"it was made of {op.result[4]}, not of {before[-1]}", op)
    if op.f == "delete" and not row.is_deleted:
        yield broken("lost", "it isn't deleted", op)
    if op.f == "rollback" and not any(old.version == op.args["v"] and old.digest == row.digest for old in before):
        yield broken("copied", f"it made {row.digest}", op)
    if op.f == "restore":
        # What was found in Redis after the deletion never was in force.
        old = next((old for old in reversed(before) if not (old.is_deleted or old.note == FOUND)), None)
        if old is None or old.digest != row.digest:
            yield broken("copied", f"it made {row.digest} of {old}", op)


def _histories(truth: Truth) -> Iterator[Violation]:
    """Versions without gaps, and PostgreSQL's own history at the end."""
    there: dict[Key, list[tuple[Any, ...]]] = defaultdict(list)
    active: dict[Key, list[int]] = defaultdict(list)
    for owner, kind, version, content, is_active, is_deleted in truth.history.final["settings"]:
        there[owner, kind].append((version, content, is_deleted))
        active[owner, kind] += [version] if is_active else []
    for owner, version, is_active, is_deleted, _ in truth.history.final["credentials"]:
        there[owner, "api_keys"].append((version, is_deleted))
        active[owner, "api_keys"] += [version] if is_active else []
    for key, chain in list(truth.chains.items()):
        if key[1] in NOT_DOCUMENTS:
            continue
        rows: list[Row] = []
        for life in chain.lives():
            rows = [row for _, row in life]
            if rows and rows[0].version != 1:
                yield broken("gapless", f"{key} begins with {rows[0]}")
            for before, after in pairwise(rows):
                if after.version != before.version + 1:
                    yield broken("gapless", f"{key}: after version {before.version} came {after}")
        is_keys = key[1] == "api_keys"
        made = [(row.version, row.is_deleted) if is_keys else (row.version, row.digest, row.is_deleted) for row in rows]
        if sorted(made) != sorted(there[key]):
            wrong = sorted(set(made) ^ set(there[key])) or "some version twice"
            yield broken("history", f"{key}: of these either PostgreSQL or the ledger knows nothing: {wrong}")
        if rows and active[key] != [rows[-1].version]:
            yield broken("history", f"{key}: active are the versions {active[key]}, the newest is {rows[-1].version}")


def _kept(truth: Truth) -> Iterator[Violation]:
    """What was written last into a key by whoever doesn't know the store."""
    if not lossless(truth.history.faults):
        return
    last: dict[Key, Op] = {}
    for op in sorted(truth.history.ops.values(), key=lambda op: op.start):
        if op.f == "rogue":
            key = op.args["o"], op.args["k"]
            last[key] = op
    for key, op in last.items():
        chain = truth.chains[key]
        is_there = any(token(row.digest) == op.result for row in chain.rows)
        is_erased = any(row.kind == "erased" for row in chain.rows) or not chain.rows
        others = [
            o
            for o in truth.history.ops.values()
            if o.f == "rogue" and (o.args["o"], o.args["k"]) == key and o is not op
        ]
        if op.is_done and not is_there and not is_erased and all(other.end < op.start for other in others):
            yield broken("kept", f"{key}: what was written into Redis isn't in the history", op)
