"""Prune removes what is old enough and nobody needs; nothing else ever removes a version, but the erasure of a user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.conftest import TELEGRAM_ID
from tests.helpers.past import HOUR, MICROSECOND, T0, active, hourly, move, rows, save, versions
from tests.helpers.sessions import DEADLINE, Connection, Session, at_once, fetch, refused, value

Connect = Callable[[], Connection]
Open = Callable[[], Session]

OTHER_UID = "1000000000000001"
PRUNE = "select * from prune_user_settings(%s, %s)"
OF_USER = "select * from prune_user_settings(%s, %s, %s)"
DRY = "select * from prune_user_settings(%s, %s, %s, true)"
SAVE = "select from upsert_user_setting(%s, 'params', jsonb_build_object('n', %s::int))"
RAW_REMOVALS = [
    "delete from user_settings",
    "delete from user_settings where not is_active",
    "delete from app_users",
    "delete from telegram_links",
    "truncate user_settings",
    "truncate app_users cascade",
    "truncate telegram_links",
]


def counted(found: list[dict[str, Any]]) -> dict[str, int]:
    return {row["setting_type"]: row["versions"] for row in found}


def everything(db: Connection) -> list[dict[str, Any]]:
    return fetch(db, "select * from user_settings order by okx_uid, setting_type, version")


@contextmanager
def one_now(db: Connection) -> Iterator[None]:
    """A transaction that is rolled back; its now() stands still, so ages are exact."""
    with db.transaction(force_rollback=True):
        yield


@pytest.mark.parametrize(("keep", "left"), [(1, [6]), (2, [5, 6]), (5, [2, 3, 4, 5, 6]), (6, [1, 2, 3, 4, 5, 6])])
def test_the_newest_versions_are_kept_whatever_their_age(
    db: Connection, bare_uid: str, keep: int, left: list[int]
) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3, 4, 5, 6])
    before = rows(db, bare_uid)
    assert counted(fetch(db, PRUNE, (keep, "0"))) == ({"params": 6 - len(left)} if len(left) < 6 else {})
    assert rows(db, bare_uid) == before[-len(left) :]


def test_a_version_is_kept_that_was_in_force_within_the_window(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, 2, 3, 4])
    with one_now(db):
        now = value(db, "select now()")
        days = timedelta(days=1)
        # 1 ended 9 days ago, 2 was saved then and ended exactly a day ago, 3 a microsecond later
        times = [now - 10 * days, now - 9 * days, now - days, now - days + MICROSECOND]
        move(db, bare_uid, "params", dict(enumerate(times, 1)))
        for age, left in (
            (10 * days, [1, 2, 3, 4]),
            (9 * days, [1, 2, 3, 4]),
            (9 * days - MICROSECOND, [2, 3, 4]),
            (days, [2, 3, 4]),
            (days - MICROSECOND, [3, 4]),
        ):
            with one_now(db):
                fetch(db, PRUNE, (1, age))
                assert versions(db, bare_uid) == left, age


def test_what_went_out_of_force_just_now_is_kept(db: Connection, bare_uid: str) -> None:
    with db.transaction():
        save(db, bare_uid, "params", [1, 2])
        assert fetch(db, PRUNE, (1, "0")) == []
    assert versions(db, bare_uid) == [1, 2]


def test_numbers_are_never_used_again(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, None])
    fetch(db, PRUNE, (1, "0"))
    save(db, bare_uid, "params", [4, None])
    assert versions(db, bare_uid) == [2, 3, 4, 5]
    move(db, bare_uid, "params", {4: T0 + 3 * HOUR, 5: T0 + 4 * HOUR})
    fetch(db, PRUNE, (1, "0"))
    assert versions(db, bare_uid) == [4, 5]
    fetch(db, "select from restore_user_setting(%s, 'params')", (bare_uid,))
    assert versions(db, bare_uid) == [4, 5, 6]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_whatever_is_pruned_a_restore_brings_back_the_same(db: Connection, bare_uid: str, keep: int) -> None:
    hourly(db, bare_uid, "params", [1, 2, None])
    hourly(db, bare_uid, "dual_side", [7, 8, 9])
    fetch(db, "select from delete_user(%s)", (bare_uid,))
    fetch(db, PRUNE, (keep, "0"))
    fetch(db, "select from restore_user(%s)", (bare_uid,))
    assert active(db, bare_uid) == {"dual_side": {"n": 9}}
    fetch(db, PRUNE, (keep, "0"))
    fetch(db, "select from restore_user_setting(%s, 'params')", (bare_uid,))
    assert active(db, bare_uid) == {"dual_side": {"n": 9}, "params": {"n": 2}}


@pytest.mark.parametrize("keep", [1, 2, 3, 4, 5, 6])
def test_what_was_found_in_redis_after_a_deletion_never_outlives_the_document_before_it(
    db: Connection, bare_uid: str, keep: int
) -> None:
    save(db, bare_uid, "params", [1, 2, None])
    for n in (66, 67):
        item = {"owner": bare_uid, "kind": "params", "version": 0, "document": {"n": n}}
        fetch(db, "select from import_documents(%s, null, true, false)", (Jsonb([item]),))
    move(db, bare_uid, "params", {n + 1: T0 + n * HOUR for n in range(7)})
    fetch(db, PRUNE, (keep, "0"))
    assert versions(db, bare_uid) == [2, 3, 4, 5, 6, 7]  # no gap
    fetch(db, "select from restore_user_setting(%s, 'params')", (bare_uid,))
    assert active(db, bare_uid) == {"params": {"n": 2}}


def test_pruning_touches_nothing_that_is_in_force_and_marks_nothing_for_redis(db: Connection, uid: str) -> None:
    save(db, uid, "params", [1, 2])
    move(db, uid, "params", {1: T0, 2: T0 + HOUR, 3: T0 + 2 * HOUR})
    mirrored = fetch(db, "select * from mirror_source order by owner, kind")
    fetch(db, "delete from mirror_pending")
    assert counted(fetch(db, PRUNE, (1, "0"))) == {"params": 2}
    assert fetch(db, "select * from mirror_source order by owner, kind") == mirrored
    assert fetch(db, "select * from mirror_pending") == []


@pytest.mark.parametrize(("keep", "hours"), [(1, 0), (1, 2), (2, 2), (4, 0)])
def test_a_dry_run_counts_what_the_run_removes_and_removes_nothing(
    db: Connection, bare_uid: str, keep: int, hours: int
) -> None:
    now = value(db, "select date_trunc('hour', now())")
    fetch(db, "select from ensure_user(%s)", (OTHER_UID,))
    for each in (bare_uid, OTHER_UID):
        hourly(db, each, "params", [1, 2, None, 3, 4], since=now - 5 * HOUR)
        hourly(db, each, "dual_side", [1, 2, None], since=now - 5 * HOUR)
    before = everything(db)
    for user in (None, bare_uid):
        with one_now(db):
            foreseen = counted(fetch(db, DRY, (keep, hours * HOUR, user)))
            assert everything(db) == before
            assert counted(fetch(db, OF_USER, (keep, hours * HOUR, user))) == foreseen
            left = everything(db)
            assert len(before) - len(left) == sum(foreseen.values())
            gone = {(row["okx_uid"], row["is_active"]) for row in before if row not in left}
            assert gone <= {(bare_uid, False), (OTHER_UID, False)} - ({(OTHER_UID, False)} if user else set())
            assert counted(fetch(db, DRY, (keep, hours * HOUR, user))) == {}
    assert keep > 1 or hours > 0 or foreseen == {"dual_side": 1, "params": 4}


@pytest.mark.parametrize("identifier", ["okx_uid", "telegram_id", "id", "okx_uid of a deleted user"])
def test_one_users_versions_can_be_pruned_alone(db: Connection, bare_uid: str, identifier: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER_UID,))
    for each in (bare_uid, OTHER_UID):
        hourly(db, each, "params", [1, 2, 3])
    column = identifier.split()[0]
    known = str(value(db, f"select {column} from app_users where okx_uid = %s", (bare_uid,)))
    if "deleted" in identifier:
        fetch(db, "select from delete_user(%s)", (bare_uid,))
    assert counted(fetch(db, OF_USER, (1, "0", known))) == {"params": 2}
    assert versions(db, OTHER_UID) == [1, 2, 3]


@pytest.mark.parametrize(
    ("keep", "age", "identifier", "state"),
    [
        (0, "0", None, "US010"),
        (-1, "0", None, "US010"),
        (None, "0", None, "US010"),
        (1, None, None, "US010"),
        (1, "-1 second", None, "US010"),
        (1, "0", OTHER_UID, "US004"),
        (1, "0", "99999", "US004"),
        (1, "0", "", "US007"),
    ],
)
def test_what_makes_no_sense_prunes_nothing(
    db: Connection, bare_uid: str, keep: int | None, age: str | None, identifier: str | None, state: str
) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    for query in (OF_USER, DRY):
        with refused(state):
            fetch(db, query, (keep, age, identifier))
    assert versions(db, bare_uid) == [1, 2, 3]


# ------------------------------------------------------------------------------------------- nothing else removes


@pytest.mark.parametrize(
    "removal",
    [
        "select from prune_user_settings(1, '0')",
        "select from prune_user_settings(1, '0', p_dry_run => true)",
        "select from erase_user('1000000000000001')",
    ],
    ids=["prune", "dry run", "erase"],
)
def test_raw_removal_is_refused_also_where_something_was_removed_before(
    db: Connection, bare_uid: str, removal: str
) -> None:
    fetch(db, "select from ensure_user(%s, '77777')", (OTHER_UID,))
    for each in (bare_uid, OTHER_UID):
        hourly(db, each, "params", [1, 2, 3])
    with db.transaction():
        fetch(db, removal)
        left = everything(db)
        assert left
        for statement in RAW_REMOVALS:
            with refused("US005"), db.transaction():
                fetch(db, statement)
    for statement in RAW_REMOVALS:
        with refused("US005"):
            fetch(db, statement)
    assert everything(db) == left


def test_raw_removal_is_refused_after_a_prune_that_failed(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    fetch(db, "create table parts (part uuid references user_settings)")
    fetch(db, "insert into parts select id from user_settings where version = 1")
    with db.transaction():
        with refused("23503"), db.transaction():
            fetch(db, PRUNE, (1, "0"))
        with refused("US005"), db.transaction():
            fetch(db, "delete from user_settings where version = 1")
    assert versions(db, bare_uid) == [1, 2, 3]


def test_an_open_prune_lets_nobody_else_remove(db: Connection, session: Open, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    pruner = session()
    pruner.run("begin")
    pruner.run(PRUNE, (2, "0"))
    for statement in RAW_REMOVALS[:4]:  # a truncate would wait for the pruner's lock on the table
        with refused("US005"):
            fetch(db, statement)
    pruner.run("commit")
    assert versions(db, bare_uid) == [2, 3]


# ------------------------------------------------------------------------------------------------- at the same time


def test_prune_does_not_wait_for_a_writer_nor_a_writer_for_prune(db: Connection, session: Open, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    fetch(db, "set lock_timeout = '10ms'")  # a wait of any length is an error
    writer = session()
    writer.run("begin")
    writer.run(SAVE, (bare_uid, 4))
    assert counted(fetch(db, PRUNE, (1, "0"))) == {"params": 2}  # version 3 is still the active one
    writer.run("commit")
    with db.transaction():
        assert counted(fetch(db, PRUNE, (1, "0"))) == {"params": 1}
        writer.run("set lock_timeout = '10ms'")
        writer.run(SAVE, (bare_uid, 5))
    assert versions(db, bare_uid) == [4, 5]


@pytest.mark.parametrize(
    "other",
    ["select from prune_user_settings(1, '0', '587662504768345929')", "select from erase_user('587662504768345929')"],
    ids=["prune", "erasure"],
)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_prune_counts_only_what_it_removed_itself(
    db: Connection, session: Open, bare_uid: str, other: str, end: str
) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER_UID,))
    hourly(db, bare_uid, "params", [1, 2, 3])
    hourly(db, OTHER_UID, "dual_side", [1, 2])
    first = session()
    first.run("begin")
    first.run(other)
    fetch(db, "set lock_timeout = '10ms'")  # nor does it wait
    assert counted(fetch(db, PRUNE, (1, "0"))) == {"dual_side": 1}
    first.run(end)
    assert counted(fetch(db, PRUNE, (1, "0"))) == ({"params": 2} if end == "rollback" else {})


def test_prunes_and_saves_at_the_same_time_lose_nothing_that_is_kept(
    db: Connection, connect: Connect, bare_uid: str
) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3, 4, 5])
    jobs: list[tuple[str, tuple[Any, ...]]] = []
    for n in range(6):
        jobs += [(SAVE, (bare_uid, 100 + n)), (PRUNE, (3, "1 hour")), (OF_USER, (3, "1 hour", TELEGRAM_ID))]
    found = at_once(connect, jobs)
    left = versions(db, bare_uid)
    assert left == list(range(left[0], 12))
    assert left[0] in (3, 4, 5)  # 5 went out of force just now
    assert sum(row.get("versions", 0) for part in found for row in part) == left[0] - 1


def test_a_rollback_to_a_version_that_is_being_pruned_has_it_or_not(
    db: Connection, session: Open, bare_uid: str
) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    pruner, other = session(), session()
    pruner.run("begin")
    pruner.run(PRUNE, (1, "0"))
    other.run("set lock_timeout = '10ms'")
    assert other.run("select * from rollback_user_setting(%s, 'params', 1)", (bare_uid,))[0]["version"] == 4
    pruner.run("commit")
    with refused("US006"):
        other.start("select from rollback_user_setting(%s, 'params', 1)", (bare_uid,)).result(DEADLINE)
    assert versions(db, bare_uid) == [3, 4]
    assert active(db, bare_uid) == {"params": {"n": 1}}
