"""Rollbacks and restores at the same time as each other, as saves and as deletions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.past import HOUR, T0, hourly, rows, save, versions
from tests.helpers.rollbacks import (
    DELETE_USER,
    EXPECTING,
    RESTORE,
    RESTORE_USER,
    ROLLBACK,
    ROLLBACK_ALL,
    TYPES,
    Connect,
    Open,
    contents,
)
from tests.helpers.sessions import DEADLINE, Connection, at_once, fetch, refused, value

SAVE = "select (r).version from upsert_user_setting(%s, %s, jsonb_build_object('n', %s::int)) r"


def test_concurrent_rollbacks_and_saves_make_gapless_versions(db: Connection, connect: Connect, bare_uid: str) -> None:
    for setting_type in TYPES:
        hourly(db, bare_uid, setting_type, [1, None, 2])
    jobs: list[tuple[str, tuple[Any, ...]]] = []
    for n in range(4):
        jobs += [
            (ROLLBACK_ALL, (bare_uid, T0)),
            (ROLLBACK_ALL, (bare_uid, T0 + HOUR)),
            (ROLLBACK, (bare_uid, 1 + n % 3)),
            (RESTORE, (bare_uid,)),
            (SAVE, (bare_uid, TYPES[n % 3], 100 + n)),
            ("select from delete_user_setting(%s, %s)", (bare_uid, TYPES[n % 3])),
        ]
    at_once(connect, jobs)
    for setting_type in TYPES:
        found = rows(db, bare_uid, setting_type)
        assert [row["version"] for row in found] == list(range(1, len(found) + 1))
        assert [row["is_active"] for row in found] == [False] * (len(found) - 1) + [True]
        assert {n for n in range(4) if TYPES[n % 3] == setting_type} == {
            row["settings"]["n"] - 100 for row in found if row["settings"].get("n", 0) >= 100
        }


def test_many_restores_of_a_user_at_the_same_time_are_one(db: Connection, connect: Connect, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    at_once(connect, [(RESTORE_USER, (uid,)) for _ in range(8)])
    assert [versions(db, uid, t) for t in TYPES] == [[1, 2, 3]] * 3
    assert value(db, "select version from app_users") == 3


def test_of_two_rollbacks_of_all_the_second_waits_and_has_nothing_left_to_do(
    db: Connection, session: Open, bare_uid: str
) -> None:
    for setting_type in TYPES:
        hourly(db, bare_uid, setting_type, [1, 2])
    first, second = session(), session()
    first.run("begin")
    first.run(ROLLBACK_ALL, (bare_uid, T0))
    waiting = second.run_blocked(ROLLBACK_ALL, (bare_uid, T0))
    first.run("commit")
    assert [row["version"] for row in waiting.result(DEADLINE)] == [3, 3, 3]
    assert [versions(db, bare_uid, t) for t in TYPES] == [[1, 2, 3]] * 3


def test_a_rollback_that_waits_for_a_save_goes_over_it(db: Connection, session: Open, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, 2])
    writer, other = session(), session()
    writer.run("begin")
    writer.run(SAVE, (bare_uid, "params", 3))
    waiting = other.run_blocked(ROLLBACK, (bare_uid, 1))
    writer.run("commit")
    assert waiting.result(DEADLINE)[0]["version"] == 4
    assert contents(db, bare_uid) == [1, 2, 3, 1]


@pytest.mark.parametrize("target", [1, 2], ids=["document", "deletion"])
def test_a_rollback_that_expects_what_a_save_replaced_is_a_conflict(
    db: Connection, session: Open, bare_uid: str, target: int
) -> None:
    save(db, bare_uid, "params", [1, None, 2])
    writer, other = session(), session()
    writer.run("begin")
    writer.run(SAVE, (bare_uid, "params", 3))
    waiting = other.run_blocked(EXPECTING, (bare_uid, target, 3))
    writer.run("commit")
    with refused("US001"):
        waiting.result(DEADLINE)
    assert contents(db, bare_uid) == [1, None, 2, 3]


def test_a_restore_that_waits_for_a_save_leaves_it(db: Connection, session: Open, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, None])
    writer, other = session(), session()
    writer.run("begin")
    writer.run(SAVE, (bare_uid, "params", 3))
    waiting = other.run_blocked(RESTORE, (bare_uid,))
    writer.run("commit")
    assert waiting.result(DEADLINE)[0]["settings"] == {"n": 3}
    assert contents(db, bare_uid) == [1, None, 3]


def test_a_restore_that_waits_for_a_deletion_brings_back_what_it_deleted(
    db: Connection, session: Open, bare_uid: str
) -> None:
    save(db, bare_uid, "params", [1, 2])
    writer, other = session(), session()
    writer.run("begin")
    writer.run("select from delete_user_setting(%s, 'params')", (bare_uid,))
    waiting = other.run_blocked(RESTORE, (bare_uid,))
    writer.run("commit")
    assert waiting.result(DEADLINE)[0]["settings"] == {"n": 2}
    assert contents(db, bare_uid) == [1, 2, None, 2]


@pytest.mark.parametrize("query", [ROLLBACK, ROLLBACK_ALL, RESTORE], ids=["rollback", "of all", "restore"])
def test_whoever_waits_for_the_users_deletion_finds_no_user(
    db: Connection, session: Open, bare_uid: str, query: str
) -> None:
    hourly(db, bare_uid, "params", [1, 2, None])
    target: dict[str, tuple[Any, ...]] = {ROLLBACK: (1,), ROLLBACK_ALL: (T0,), RESTORE: ()}
    deleter, other = session(), session()
    deleter.run("begin")
    deleter.run(DELETE_USER, (bare_uid,))
    waiting = other.run_blocked(query, (bare_uid, *target[query]))
    deleter.run("commit")
    with refused("US004"):
        waiting.result(DEADLINE)
    assert contents(db, bare_uid) == [1, 2, None]


def test_a_user_is_restored_once_by_two_at_the_same_time(db: Connection, session: Open, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    first, second = session(), session()
    first.run("begin")
    first.run(RESTORE_USER, (uid,))
    waiting = second.run_blocked(RESTORE_USER, (uid,))
    first.run("commit")
    assert waiting.result(DEADLINE)[0]["version"] == 3
    assert [versions(db, uid, t) for t in TYPES] == [[1, 2, 3]] * 3


@pytest.mark.parametrize("query", [ROLLBACK_ALL, RESTORE_USER, DELETE_USER], ids=["rollback", "restore", "delete"])
def test_what_goes_over_all_documents_does_not_deadlock_with_a_save_of_two(
    session: Open, db: Connection, bare_uid: str, query: str
) -> None:
    """save_user_settings() in two steps; the other session comes in between, where it can at any time."""
    for setting_type in reversed(TYPES):
        hourly(db, bare_uid, setting_type, [1, 2])
    saver, other = session(), session()
    saver.run("begin")
    saver.run('select from save_user_settings(%s, \'{"params": {"n": 5}}\')', (bare_uid,))
    changed = other.run_blocked(query, (bare_uid, T0) if query == ROLLBACK_ALL else (bare_uid,))
    saver.run("set lock_timeout = '20s'")
    saver.run('select from save_user_settings(%s, \'{"preferences": {"n": 5}}\')', (bare_uid,))
    saver.run("commit")
    changed.result(DEADLINE)
    assert contents(db, bare_uid)[:3] == [1, 2, 5]
