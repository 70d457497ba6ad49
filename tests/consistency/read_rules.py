"""Rules of reads; see checker.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.consistency.history import Op, token
from tests.consistency.truth import FOUND, Chain, Key, Truth, is_rogue, reads_of
from tests.consistency.violation import Violation, broken

OKX_UID = 16  # digits at least


def check(truth: Truth) -> Iterator[Violation]:
    rogues = _rogues(truth)
    saved_by = {key: _saved_by(truth, chain) for key, chain in truth.chains.items() if key[1] == "api_keys"}
    yield from _kept_credentials(truth, saved_by)
    for op in truth.history.ops.values():
        for owner, kind, version, content, source, telegram in reads_of(op):
            yield from _document(truth, op, (owner, kind), (version, content), source, rogues)
            yield from _telegram(truth, op, owner, source, telegram)
        if op.f == "get":
            yield from _get(truth, op)
        elif op.f == "get_many":
            yield from _get_many(truth, op)
        elif op.f == "raw_redis" and op.is_done and op.result is not None:
            yield from _raw(truth, op, rogues)
        elif op.f == "get_keys":
            yield from _credentials(truth, op, saved_by.get((op.args["o"], "api_keys"), {}))
        elif op.f == "version" and op.is_done and op.result is not None:
            if not truth.chains[op.args["o"], op.args["k"]].find((op.args["v"], op.result)):
                yield broken("content", "this version never stored that", op)
        elif op.f == "find" and op.is_done:
            yield from _leads_to(truth, op, op.result or "", "db")
        if op.outcome == "no" and op.result == "UnknownUser":
            yield from _unknown_user(truth, op)


def _rogues(truth: Truth) -> dict[Key, dict[str, int]]:
    """When which token was written into Redis behind the store's back."""
    rogues: dict[Key, dict[str, int]] = defaultdict(dict)
    for op in truth.history.ops.values():
        if op.f == "rogue":
            rogues[op.args["o"], op.args["k"]][str(-op.id)] = op.start
    return rogues


def _document(
    truth: Truth, op: Op, key: Key, what: tuple[int, str], source: str, rogues: dict[Key, dict[str, int]]
) -> Iterator[Violation]:
    chain = truth.chains[key]
    positions = [position for position in chain.find(what) if not chain.rows[position].is_deleted]
    if source == "redis" and rogues[key].get(token(what[1]), op.end) < op.end:
        if any(row.kind == "erased" for row in chain.rows):
            return  # under a version of another life, or of the erasure itself
        positions = positions or chain.find(what[0])
    if not positions:
        yield broken("content", f"{key} version {what[0]} never stored that", op)
    elif not truth.can_be(key, op, source, positions):
        least = truth.least(key, op, source)
        yield broken(_stale(op, source), f"{key} is at position {positions[-1]}, {least} was known", op)


def _stale(op: Op, source: str) -> str:
    if source == "db":
        return "stale database"
    return "stale cache" if op.args.get("c") and op.args.get("source") is None else "stale Redis"


def _get(truth: Truth, op: Op) -> Iterator[Violation]:
    """What a single read says beside the document: whose it is, that there is none, that it is new enough."""
    owner = op.args["o"]
    is_okx_uid = len(owner) >= OKX_UID
    if not is_okx_uid and op.is_done and op.result is not None:
        yield from _leads_to(truth, op, op.result[0], op.result[4])
        owner = op.result[0]
    if op.is_done and (op.result is not None or is_okx_uid):
        yield from _answer(truth, op, owner, op.result, op.args["min"])
    if is_okx_uid:
        yield from _unknown_version(truth, op, {owner: op.args["min"]})


def _get_many(truth: Truth, op: Op) -> Iterator[Violation]:
    found = {read[0]: read for read in reads_of(op)}
    least = {owner: op.args["min"].get(owner, 0) for owner in op.args["os"]}
    for owner in least if op.is_done else ():
        yield from _answer(truth, op, owner, found.get(owner), least[owner])
    yield from _unknown_version(truth, op, least)


def _answer(truth: Truth, op: Op, owner: str, found: Any, least: int) -> Iterator[Violation]:
    kind = op.args["k"]
    if (found is None or found[1] != kind) and op.args["source"] != "redis":
        source = "db" if found is None else found[4]
        if not truth.can_be((owner, kind), op, source, truth.chains[owner, kind].absent):
            yield broken("absent", f"{kind} of {owner} was there", op)
    if found is not None and found[1] == kind and found[2] < least and op.args["source"] != "redis":
        yield broken("least", "older than asked for", op)


def _unknown_version(truth: Truth, op: Op, least: dict[str, int]) -> Iterator[Violation]:
    is_refused = op.outcome == "no" and op.result == "UnknownVersion"
    if is_refused and all(_is_known(truth, (owner, op.args["k"]), op, version) for owner, version in least.items()):
        yield broken("least", f"versions {least} were known", op)


def _is_known(truth: Truth, key: Key, op: Op, version: int) -> bool:
    """Tell whether a version had been reached before, and nothing was deleted or erased since."""
    chain, reached = truth.chains[key], truth.chains[key].committed.at(op.start)
    positions = [position for position in chain.find(version) if position <= reached]
    if not positions or any(row.kind == "erased" for row in chain.rows[positions[-1] :]):
        return False
    return not truth.can_be(key, op, "db", chain.absent)


def _leads_to(truth: Truth, op: Op, owner: str, source: str) -> Iterator[Violation]:
    key = op.args["o"], "telegram"
    if not truth.can_be(key, op, source, truth.chains[key].noted.get(owner, [])):
        yield broken("link", f"the Telegram ID didn't lead to {owner or 'nobody'} any more, by {source}", op)


def _telegram(truth: Truth, op: Op, owner: str, source: str, telegram: str | None) -> Iterator[Violation]:
    key = owner, "user"
    if not truth.can_be(key, op, source, truth.chains[key].noted.get(telegram or "", [])):
        yield broken("telegram_id", f"{owner} hadn't {telegram or 'no Telegram ID'} any more, by {source}", op)


def _raw(truth: Truth, op: Op, rogues: dict[Key, dict[str, int]]) -> Iterator[Violation]:
    key = op.args["o"], op.args["k"]
    positions = truth.chains[key].find(op.result)
    if not positions:
        if rogues[key].get(token(op.result), op.end) >= op.end:
            yield broken("content", "no version stored that", op)
    elif not is_rogue(op.result) and not truth.can_be(key, op, "redis", positions):
        yield broken("stale Redis", f"position {positions[-1]}, {truth.least(key, op, 'redis')} was known", op)


def _credentials(truth: Truth, op: Op, saved_by: dict[int, int | None]) -> Iterator[Violation]:
    key = op.args["o"], "api_keys"
    chain = truth.chains[key]
    if op.outcome == "no" and op.result == "UnknownVersion" and _is_known(truth, key, op, op.args["min"]):
        yield broken("least", "that version of the credentials was known", op)
    if not op.is_done:
        return
    if op.result is None:
        if not truth.can_be(key, op, "db", truth.chains[key].absent):
            yield broken("absent", "there were credentials", op)
        return
    version, api_key, secret, source = op.result
    if version < op.args["min"]:
        yield broken("least", "older than asked for", op)
    positions = [
        p
        for p in chain.find(version)
        if (api_key, secret) == (f"{key[0]}-{saved_by.get(p)}", f"secret-{saved_by.get(p)}")
        or chain.rows[p].note == FOUND
    ]
    if not positions:
        yield broken("credentials", "this version of that user's never stored these", op)
    elif not truth.can_be(key, op, source, positions):
        yield broken(_stale(op, source), f"credentials at position {positions[-1]}", op)


def _kept_credentials(truth: Truth, saved_by: dict[Key, dict[int, int | None]]) -> Iterator[Violation]:
    """At the end every version in PostgreSQL can be decrypted to what was saved, whatever key it is sealed with."""
    for (owner, kind), saved in saved_by.items():
        *_, life = truth.chains[owner, kind].lives()
        for position, row in life:
            found = truth.history.final["keys"].get(f"{owner} {row.version}", f"{owner}-{saved.get(position)}")
            if not row.is_deleted and row.note != FOUND and found != f"{owner}-{saved[position]}":
                yield broken("credentials", f"version {row.version} of {owner} says {found}")


def _saved_by(truth: Truth, chain: Chain) -> dict[int, int | None]:
    """Which call saved the credentials of each position: a restored user has those from before the deletion."""
    saved: dict[int, int | None] = {}
    last: int | None = None
    for position, row in enumerate(chain.rows):
        if not row.is_deleted:
            op = truth.history.ops.get(row.op or -1)
            if row.note == "put back":
                last = saved.get(position - 2)
            elif op is None or op.f == "save_keys":
                last = row.op
            saved[position] = last
    return saved


def _unknown_user(truth: Truth, op: Op) -> Iterator[Violation]:
    owners: list[str] = op.args["os"] if "os" in op.args else [op.args["o"]]
    if len(owners[0]) < OKX_UID:
        yield from _leads_to(truth, op, "", "db")
    elif not any(truth.can_be((owner, "user"), op, "db", truth.chains[owner, "user"].absent) for owner in owners):
        yield broken("absent", "the user was there", op)


def staleness(truth: Truth) -> dict[str, list[float]]:
    """By how many seconds reads were older than the newest state that was known."""
    found: dict[str, list[float]] = defaultdict(list)
    for op in truth.history.ops.values():
        for owner, kind, version, content, source, _ in reads_of(op):
            chain = truth.chains[owner, kind]
            for position in chain.find((version, content))[-1:]:
                since = chain.committed.since(position)
                late = 0.0 if since is None else max(op.start - since, 0) / 1e9
                found["the cache or Redis" if op.args.get("c") and source == "redis" else str(source)].append(late)
    return found
