"""The checker by itself: it accepts a clean history, and rejects each that breaks a rule. No servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.consistency.broken import BROKEN
from tests.consistency.checker import check
from tests.consistency.history import SECOND, Fault, History, Op, Row, Watched
from tests.consistency.mutants import CHECKOUT
from tests.consistency.truth import FOUND

USER, OTHER, TELEGRAM, KIND = "1000000000001000", "1000000000001001", "100001000", "params"
SYMBOLS = "dual_side:BTC-USDT-SWAP"


def at(second: float) -> int:
    """A moment of the history, in ns."""
    return int((1000 + second) * SECOND)


def read(version: int, digest: str, source: str = "redis", telegram: str | None = TELEGRAM) -> list[Any]:
    return [USER, KIND, version, digest, source, telegram]


def call(history: History, id_: int, f: str, second: float, result: Any, outcome: str = "ok", **args: Any) -> Op:
    """Add a call that takes a tenth of a second."""
    given = {"s": 1, "o": USER, **args}
    if f == "get":
        given = {"k": KIND, "source": None, "min": 0, "c": False, **given}
    history.ops[id_] = Op(id_, f, at(second), given, at(second + 0.1), outcome, result)
    return history.ops[id_]


def clean() -> History:
    """A user registers, saves, is linked, deletes, restores, rolls back; everything is read, watched and equal at the
    end. A call of second n ends at n.1."""
    history = History()
    call(history, 1, "register", 1, [[KIND, 1, True, "1:a"]])
    call(history, 2, "save", 2, [KIND, 2, True, "2:b"], k=KIND)
    call(history, 3, "get", 3, read(2, "2:b", telegram=None))
    call(history, 4, "patch", 4, [KIND, 3, True, "4:c"], k=KIND)
    call(history, 5, "link", 5, [True], to=TELEGRAM)
    call(history, 6, "get", 6, read(3, "4:c"), o=TELEGRAM)
    call(history, 7, "get", 7, read(3, "4:c", "db"), source="db")
    call(history, 8, "delete", 8, [KIND, 4, True, "None:d"], k=KIND)
    call(history, 9, "get", 9, None)
    call(history, 10, "restore", 10, [KIND, 5, True, "4:c"], k=KIND)
    call(history, 11, "rollback", 11, [KIND, 6, True, "2:b"], k=KIND, v=2)
    call(history, 12, "cas", 12, [KIND, 7, True, "12:e"], k=KIND, v=6)
    call(history, 13, "cas", 13, "VersionConflict", "no", k=KIND, v=6)
    call(history, 14, "save_keys", 14, ["api_keys", 1, True, None])
    call(history, 15, "get_keys", 15, [1, f"{USER}-14", "secret-14", "redis"], min=1)
    call(history, 16, "raw_redis", 16, "12:e", k=KIND)
    call(history, 17, "version", 17, "4:c", k=KIND, v=3)
    call(history, 18, "find", 18, USER, o=TELEGRAM)
    call(history, 19, "get", 19, read(7, "12:e"), min=7, c=True)
    documents = [(1, "1:a", False, 1), (2, "2:b", False, 2), (3, "4:c", False, 4), (4, "None:d", True, 8),
                 (5, "4:c", False, 10), (6, "2:b", False, 11), (7, "12:e", False, 12)]  # fmt: skip
    history.ledger = [
        Row(1, USER, "user", 1, "", False, 1, ""),
        *(Row(v + 1, USER, KIND, v, digest, is_gone, op, "") for v, digest, is_gone, op in documents),
        Row(9, TELEGRAM, "telegram", 1, "", False, 5, USER),
        Row(10, USER, "user", 2, "", False, 5, TELEGRAM),
        Row(11, USER, "api_keys", 1, "", False, 14, ""),
    ]
    moments = {1: 1, 2: 2, 3: 4, 4: 8, 5: 10, 6: 11, 7: 12}
    history.watched = [Watched(3, at(moment + 0.05), USER, KIND, version) for version, moment in moments.items()]
    told(history, 14.05, 1, kind="api_keys")
    fed(history, *moments)
    history.final = {
        "settings": [[USER, KIND, version, digest, version == 7, gone] for version, digest, gone, _ in documents],
        "documents": {f"{USER} {KIND}": {"n": 12}},
        "credentials": [[USER, 1, True, False, {"api_key": "v1:x"}]],
        "keys": {f"{USER} 1": f"{USER}-14"},
        "users": {USER: TELEGRAM},
        "suffixes": {"params": "settings"},
        "redis": {
            f"user:{USER}:settings": '{"n": 12}', f"user:{USER}:api:keys": {"api_key": "v1:x"},
            f"user:{TELEGRAM}:okx_uid": USER, f"user:{USER}:mirror": {"params": "7", "telegram_id": TELEGRAM},
        },
    }  # fmt: skip
    return history


def row(history: History, seq: int, **changes: Any) -> None:
    """Change a line of the ledger, and what PostgreSQL has of it at the end."""
    index = next(i for i, row in enumerate(history.ledger) if row.seq == seq)
    history.ledger[index] = replace(history.ledger[index], **changes)


def rows(history: History, *added: Row) -> None:
    history.ledger += added


def told(history: History, second: float, version: int, kind: str = KIND) -> None:
    history.watched.append(Watched(3, at(second), USER, kind, version))


def fed(history: History, *versions: int) -> None:
    history.fed += [Watched(3, at(40), USER, KIND, version) for version in versions]


def many(history: History, found: Any, outcome: str = "ok", **args: Any) -> None:
    """Read documents of two users, of whom one has none."""
    call(
        history, 30, "get_many", 30, found, outcome,
        **{"os": [USER, OTHER], "k": KIND, "source": None, "min": {}, "c": False, **args},
    )  # fmt: skip


Break = Callable[[History], Any]

BREAKS: dict[str, tuple[str, Break]] = {
    "a value that no version stored": ("content", lambda h: call(h, 30, "get", 30, read(7, "12:x"))),
    "the value of another version": ("content", lambda h: call(h, 30, "get", 30, read(7, "2:b"))),
    "a value that nobody wrote, in Redis itself": ("content", lambda h: call(h, 30, "raw_redis", 30, "9:z", k=KIND)),
    "another value of an old version": ("content", lambda h: call(h, 30, "version", 30, "2:b", k=KIND, v=3)),
    "PostgreSQL's answer is older than an acknowledged save": (
        "stale database", lambda h: call(h, 30, "get", 30, read(6, "2:b", "db"), source="db")),
    "a fallback is older than what was read elsewhere": (
        "stale database", lambda h: call(h, 30, "get", 30, read(6, "2:b", "db"))),
    "Redis is older than a save that it had": (
        "stale Redis", lambda h: call(h, 30, "get", 30, read(6, "2:b"))),
    "a bot reads what is older": ("stale Redis", lambda h: call(h, 30, "raw_redis", 30, "4:c", k=KIND)),
    "the cache is older than two seconds": (
        "stale cache", lambda h: call(h, 30, "get", 14.2, read(6, "2:b"), c=True, s=2)),
    "the cache is older than what its own store saved": (
        "stale cache", lambda h: call(h, 30, "get", 12.5, read(6, "2:b"), c=True)),
    "nothing is found that is there": ("absent", lambda h: call(h, 30, "get", 30, None)),
    "a user isn't known who is there": ("absent", lambda h: call(h, 30, "get", 30, "UnknownUser", "no")),
    "credentials aren't found": ("absent", lambda h: call(h, 30, "get_keys", 30, None, min=0)),
    "min_version is ignored": ("least", lambda h: call(h, 30, "get", 30, read(6, "2:b"), min=7)),
    "an acknowledged version isn't known": ("least", lambda h: call(h, 30, "get", 30, "UnknownVersion", "no", min=7)),
    "a Telegram ID leads to whom it never led to": (
        "link", lambda h: call(h, 30, "find", 30, OTHER, o=TELEGRAM)),
    "a Telegram ID leads to nobody though it was linked": ("link", lambda h: call(h, 30, "find", 30, None, o=TELEGRAM)),
    "a document names no Telegram ID": (
        "telegram_id", lambda h: call(h, 30, "get", 30, read(7, "12:e", telegram=None))),
    "another's credentials": (
        "credentials", lambda h: call(h, 30, "get_keys", 30, [1, f"{OTHER}-14", "secret-14", "db"], min=0)),
    "credentials say something else in the end": (
        "credentials", lambda h: h.final["keys"].update({f"{USER} 1": f"{USER}-15"})),
    "an acknowledged save isn't there": ("lost", lambda h: call(h, 30, "save", 30, [KIND, 8, True, "30:f"], k=KIND)),
    "an acknowledged save has another value": ("lost", lambda h: row(h, 8, digest="12:x")),
    "an acknowledged save has another version": (
        "lost", lambda h: setattr(h.ops[12], "result", [KIND, 8, True, "12:e"])),
    "what was deleted isn't": ("lost", lambda h: row(h, 5, is_deleted=False)),
    "what was refused was done": (
        "refused", lambda h: rows(h, Row(20, USER, KIND, 8, "13:g", False, 13, ""))),
    "a call was done twice": ("twice", lambda h: rows(h, Row(20, USER, KIND, 8, "12:e", False, 12, ""))),
    "a version that nobody wrote": (
        "invented", lambda h: rows(h, Row(20, USER, KIND, 8, "9:z", False, None, "edited in Redis"))),
    "found in an older Redis, but of no time before": ("invented", lambda h: _unlike_before_erasure(h)),
    "expected_version is ignored": ("expected", lambda h: h.ops[12].args.update(v=5)),
    "a rollback has another's content": ("copied", lambda h: h.ops[11].args.update(v=3)),
    "a restored document has another content": ("copied", lambda h: row(h, 6, digest="2:b")),
    "an update was made of an older version": ("expected", lambda h: _updated(h, "4")),
    "many are saved in part": ("whole", lambda h: _saved_in_part(h)),
    "one of many is older than what was read elsewhere": (
        "stale database", lambda h: many(h, [read(6, "2:b", "db")], source="db")),
    "one of many isn't found": ("absent", lambda h: many(h, [])),
    "one of many is older than asked for": ("least", lambda h: many(h, [read(6, "2:b")], min={USER: 7})),
    "an acknowledged version of many isn't known": (
        "least", lambda h: many(h, "UnknownVersion", "no", os=[USER], min={USER: 7})),
    "a version is left out": ("gapless", lambda h: row(h, 8, version=8)),
    "a version is used twice": ("gapless", lambda h: row(h, 8, version=6)),
    "history is lost": ("history", lambda h: h.final["settings"].pop(2)),
    "history is changed": ("history", lambda h: h.final["settings"][2].__setitem__(3, "9:z")),
    "two versions are active": ("history", lambda h: h.final["settings"][2].__setitem__(4, True)),
    "what somebody wrote into Redis is lost": ("kept", lambda h: call(h, 30, "rogue", 13.5, "-30", k=KIND)),
    "changes come backwards": ("watch order", lambda h: told(h, 20, 3)),
    "a change comes twice": ("watch order", lambda h: told(h, 20, 7)),
    "a change of what there isn't": ("watch order", lambda h: told(h, 20, 9)),
    "a change doesn't come": ("watch complete", lambda h: h.watched.pop(2)),
    "the newest doesn't come": ("watch complete", lambda h: h.watched.pop(-2)),
    "the feed leaves a change out": ("feed", lambda h: h.fed.pop(2)),
    "nothing is fed": ("feed", lambda h: h.fed.clear()),
    "the feed lacks the newest": ("feed", lambda h: h.fed.pop()),
    "a change is fed twice": ("feed", lambda h: fed(h, 7)),
    "changes are fed in another order": ("feed", lambda h: h.fed.insert(2, h.fed.pop())),
    "a document isn't in Redis": ("equal", lambda h: h.final["redis"].pop(f"user:{USER}:settings")),
    "Redis has another value": ("equal", lambda h: h.final["redis"].update({f"user:{USER}:settings": '{"n": 11}'})),
    "Redis has another's document": (
        "equal", lambda h: h.final["redis"].update({f"user:{OTHER}:settings": '{"n": 11}'})),
    "Redis has other credentials": (
        "equal", lambda h: h.final["redis"].update({f"user:{USER}:api:keys": {"api_key": "v1:y"}})),
    "a Telegram ID leads to another in the end": (
        "equal", lambda h: h.final["redis"].update({f"user:{TELEGRAM}:okx_uid": OTHER})),
    "something personal is left of an erased user": (
        "equal", lambda h: h.final["redis"].update({f"user:{OTHER}:mirror": {"params": "7", "name": "Kim"}})),
    "Redis didn't get right again": (
        "healing", lambda h: h.notes.update(violations=[["healing", "after redis_killed"]])),
}  # fmt: skip


def _rogue(h: History) -> None:
    """Somebody writes into Redis; that is kept as a version, and PostgreSQL's own is put back."""
    call(h, 30, "rogue", 13.5, "-30", k=KIND)
    call(h, 31, "get", 14, read(7, "-30:r"))
    edited = Row(20, USER, KIND, 8, "-30:r", False, None, "edited")
    rows(h, edited, replace(edited, seq=21, version=9, digest="12:e", note="put back"))
    h.notes["is_rogue"] = True
    h.final["settings"][-1][4] = False
    h.final["settings"] += [[USER, KIND, 8, "-30:r", False, False], [USER, KIND, 9, "12:e", True, False]]
    told(h, 19, 9)
    fed(h, 8, 9)


def _set_back(h: History) -> None:
    h.faults.append(Fault("redis_restored_old", at(29), at(31), is_lossy=True, is_redis=True))
    call(h, 30, "get", 30, read(6, "2:b"))


def _away(h: History) -> None:
    h.faults.append(Fault("redis_paused", at(3), at(4), is_redis=True))
    h.watched.pop(2)


def _erased(h: History, read: int = 7) -> None:
    del h.fed[read:]
    fed(h, 1)
    call(h, 30, "erase", 30, [True])
    call(h, 31, "register", 31, [[KIND, 1, True, "31:a"]])
    call(h, 32, "get", 32, [USER, KIND, 1, "31:a", "redis", None])
    rows(
        h,
        Row(20, TELEGRAM, "telegram", 1, "", True, 30, ""),
        Row(21, USER, "erased", 2, "", True, 30, ""),
        Row(22, USER, "user", 1, "", False, 31, ""),
        Row(23, USER, KIND, 1, "31:a", False, 31, ""),
    )
    h.final |= {
        "settings": [[USER, KIND, 1, "31:a", True, False]], "documents": {f"{USER} {KIND}": {"n": 31}},
        "credentials": [], "keys": {}, "users": {USER: None}, "redis": {f"user:{USER}:settings": '{"n": 31}'},
    }  # fmt: skip


def _erased_without_keys(h: History) -> None:
    """Redis is told to lose API keys that there never were."""
    _erased(h)
    del h.ops[14], h.ops[15]
    h.ledger = [row for row in h.ledger if row.kind != "api_keys"]
    h.watched = [change for change in h.watched if change.kind != "api_keys"]
    told(h, 30.05, 1, kind="api_keys")


def _back_from_erasure(h: History) -> None:
    """Redis is set back to before an erasure: what it has of then is kept as found."""
    _erased(h)
    h.faults.append(Fault("redis_restored_old", at(33), at(34), is_lossy=True, is_redis=True))
    found = Row(24, USER, KIND, 2, "12:e", False, None, FOUND)
    rows(h, found, replace(found, seq=25, version=3, digest="31:a", note="put back"))
    h.final["settings"][0][4] = False
    h.final["settings"] += [[USER, KIND, 2, "12:e", False, False], [USER, KIND, 3, "31:a", True, False]]
    told(h, 35, 3)
    fed(h, 2, 3)


def _unlike_before_erasure(h: History) -> None:
    _back_from_erasure(h)
    at_ = next(i for i, row in enumerate(h.ledger) if row.seq == 24)
    h.ledger[at_] = replace(h.ledger[at_], digest="9:z")
    h.final["settings"][1][3] = "9:z"


def _saved_in_part(h: History) -> None:
    call(h, 30, "save_many", 30, "DatabaseUnavailable", "err", os=[USER, OTHER], k=KIND)
    rows(h, Row(20, USER, KIND, 8, "30:f", False, 30, ""))


def _updated(h: History, base: str) -> None:
    """The last version comes of an update."""
    call(h, 12, "update", 12, [KIND, 7, True, "12:e", base], k=KIND)


def _saved_many(h: History) -> None:
    call(h, 30, "save_many", 30, [[USER, KIND, 8, True, "30:f"], [OTHER, KIND, 1, True, "30:g"]], os=[USER, OTHER])
    rows(h, Row(20, USER, KIND, 8, "30:f", False, 30, ""), Row(21, OTHER, KIND, 1, "30:g", False, 30, ""))
    h.final["settings"][-1][4] = False
    h.final["settings"] += [[USER, KIND, 8, "30:f", True, False], [OTHER, KIND, 1, "30:g", True, False]]
    h.final["documents"] |= {f"{USER} {KIND}": {"n": 30}, f"{OTHER} {KIND}": {"n": 30}}
    h.final["redis"] |= {f"user:{owner}:settings": '{"n": 30}' for owner in (USER, OTHER)}
    for owner, version in ((USER, 8), (OTHER, 1)):
        h.watched.append(Watched(3, at(30.05), owner, KIND, version))
        h.fed.append(Watched(3, at(40), owner, KIND, version))


ALLOWED: dict[str, Break] = {
    "documents of many, of whom one has none": lambda h: many(h, [read(7, "12:e")]),
    "an update of the version before": lambda h: _updated(h, "2"),
    "documents of many saved at once": _saved_many,
    "a read that began before the save had ended": lambda h: call(h, 30, "get", 12.01, read(6, "2:b")),
    "a hit of the cache that is not two seconds old": lambda h: call(h, 30, "get", 13.5, read(6, "2:b"), c=True, s=2),
    "a value that somebody else wrote into Redis": _rogue,
    "an old read while Redis was set back": _set_back,
    "an unknown outcome that was done": lambda h: setattr(h.ops[12], "outcome", "err"),
    "an unknown outcome that wasn't": lambda h: call(h, 30, "save", 30, "DatabaseUnavailable", "err", k=KIND),
    "a change that came while the watcher was away": _away,
    "an erasure, and a new life": _erased,
    "an erasure of who had no API keys": _erased_without_keys,
    "what an older Redis had from before an erasure": _back_from_erasure,
    "a feed that was behind when somebody was erased": lambda h: _erased(h, 3),
}


def test_a_clean_history_is_accepted() -> None:
    assert list(check(clean()).violations) == []


@pytest.mark.parametrize("what", ALLOWED)
def test_what_is_allowed_is_accepted(what: str) -> None:
    history = clean()
    ALLOWED[what](history)
    assert [str(found) for found in check(history).violations] == []


@pytest.mark.parametrize("what", BREAKS)
def test_each_rule_is_held(what: str) -> None:
    rule, break_ = BREAKS[what]
    history = clean()
    break_(history)
    assert rule in {found.rule for found in check(history).violations}


def test_every_rule_of_the_docstring_is_tried() -> None:
    import tests.consistency.checker as checker

    named = {line[2:].partition(":")[0] for line in (checker.__doc__ or "").splitlines() if line.startswith("- ")}
    assert {rule for rule, _ in BREAKS.values()} == named


def test_the_breaks_are_of_the_code_as_it_is() -> None:
    texts = [(broken.name, file, old) for broken in BROKEN for file, old, _ in broken.changes]
    assert [text for text in texts if (CHECKOUT / text[1]).read_text(encoding="utf-8").count(text[2]) != 1] == []
