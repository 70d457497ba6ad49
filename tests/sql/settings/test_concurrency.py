"""Writers at the same time: nothing is lost, nobody deadlocks, a deleted user stays deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import TELEGRAM_ID
from tests.helpers.sessions import DEADLINE, Connection, Session, at_once, fetch, one, refused, value

Connect = Callable[[], Connection]
Open = Callable[[], Session]

OTHER_UID = "1000000000000001"
UPSERT = "select (r).version, (r).settings from upsert_user_setting(%s, %s, jsonb_build_object('n', %s::int)) r"
PATCH = "select (r).version from patch_user_setting(%s, 'params', jsonb_build_object(%s::text, 1)) r"
LIVE = "select count(*) from user_settings where is_active and deleted_at is null and okx_uid = %s"
VERSIONS = (
    "select version, settings, is_active from user_settings"
    " where okx_uid = %s and setting_type = 'params' order by version"
)


def test_concurrent_writers_get_gapless_versions(db: Connection, connect: Connect, bare_uid: str) -> None:
    results = at_once(connect, [(UPSERT, (bare_uid, "params", n)) for n in range(50)])

    saved = {row["version"]: row["settings"] for (row,) in results}
    rows = fetch(db, VERSIONS, (bare_uid,))
    assert sorted(saved) == list(range(1, 51))
    assert {row["version"]: row["settings"] for row in rows} == saved
    assert sorted(row["settings"]["n"] for row in rows) == list(range(50))
    assert [row["version"] for row in rows if row["is_active"]] == [50]


@pytest.mark.parametrize("is_deleted", [False, True], ids=["first version", "after a deletion"])
def test_concurrent_first_writers_never_fail(db: Connection, connect: Connect, is_deleted: bool) -> None:
    connections = iter([connect() for _ in range(16)] * 15)
    for i in range(15):  # the window is a small one: several tries
        okx_uid = str(2_000_000_000_000_000 + i)
        fetch(db, "select from ensure_user(%s)", (okx_uid,))
        if is_deleted:
            fetch(db, UPSERT, (okx_uid, "params", -1))
            fetch(db, "select from delete_user_setting(%s, 'params')", (okx_uid,))
        at_once(lambda: next(connections), [(UPSERT, (okx_uid, "params", n)) for n in range(16)])
        before = 2 if is_deleted else 0
        assert [row["version"] for row in fetch(db, VERSIONS, (okx_uid,))] == list(range(1, 17 + before))


def test_raw_updates_of_many_sessions_are_versioned_without_gaps(db: Connection, connect: Connect, uid: str) -> None:
    update = "update user_settings set settings = jsonb_build_object('n', %s::int) where okx_uid = %s and is_active"
    at_once(connect, [(f"{update} and setting_type = 'params'", (n, uid)) for n in range(20)])
    rows = fetch(db, VERSIONS, (uid,))
    assert [row["version"] for row in rows] == list(range(1, 22))
    assert sorted(row["settings"]["n"] for row in rows[1:]) == list(range(20))


@pytest.mark.parametrize("first", [True, False], ids=["first version", "over a document"])
def test_concurrent_patches_of_different_keys_all_survive(
    db: Connection, connect: Connect, bare_uid: str, first: bool
) -> None:
    if not first:
        fetch(db, "select from upsert_user_setting(%s, 'params', '{\"old\": 1}')", (bare_uid,))
    at_once(connect, [(PATCH, (bare_uid, f"key{n}")) for n in range(20)])
    rows = fetch(db, VERSIONS, (bare_uid,))
    assert [row["version"] for row in rows] == list(range(1, 21 + (not first)))
    assert set(rows[-1]["settings"]) - {"old"} == {f"key{n}" for n in range(20)}


def test_a_first_patch_waits_for_the_first_writer_and_merges_into_what_it_left(
    db: Connection, session: Open, bare_uid: str
) -> None:
    writer, patcher = session(), session()
    writer.run("begin")
    writer.run(UPSERT, (bare_uid, "params", 7))
    patched = patcher.run_blocked(PATCH, (bare_uid, "m"))
    writer.run("commit")
    assert patched.result(DEADLINE) == [{"version": 2}]
    assert fetch(db, VERSIONS, (bare_uid,))[-1]["settings"] == {"n": 7, "m": 1}


def test_an_expected_version_is_checked_after_the_wait(session: Open, uid: str) -> None:
    first, second = session(), session()
    first.run("begin")
    first.run(UPSERT, (uid, "params", 1))
    waiting = second.run_blocked("select from upsert_user_setting(%s, 'params', '{\"n\": 2}', 1)", (uid,))
    first.run("commit")
    with refused("US001") as conflict:
        waiting.result(DEADLINE)
    assert conflict.value.diag.message_detail == "expected version 1, current version 2"


def test_a_writer_whose_predecessor_rolls_back_takes_the_version(db: Connection, session: Open, bare_uid: str) -> None:
    first, second = session(), session()
    first.run("begin")
    first.run(UPSERT, (bare_uid, "params", 1))
    waiting = second.run_blocked(UPSERT, (bare_uid, "params", 2))
    first.run("rollback")
    assert waiting.result(DEADLINE) == [{"version": 1, "settings": {"n": 2}}]
    assert len(fetch(db, VERSIONS, (bare_uid,))) == 1


@pytest.mark.parametrize("function", ["ensure_user", "register_user"])
def test_concurrent_registrations_of_one_new_user_all_succeed(db: Connection, connect: Connect, function: str) -> None:
    connections = iter([connect() for _ in range(12)] * 10)
    for i in range(10):
        okx_uid, telegram_id = str(2_000_000_000_000_000 + i), str(50_000 + i)
        at_once(lambda: next(connections), [(f"select from {function}(%s, %s)", (okx_uid, telegram_id))] * 12)
        user = one(db, "select version, telegram_id from app_users where okx_uid = %s", (okx_uid,))
        assert user == {"version": 1, "telegram_id": telegram_id}
        expected = {} if function == "ensure_user" else dict.fromkeys(("params", "preferences", "dual_side"), 1)
        rows = fetch(db, "select setting_type, version from user_settings where okx_uid = %s", (okx_uid,))
        assert {row["setting_type"]: row["version"] for row in rows} == expected


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("select from upsert_user_setting(%s, 'params', '{\"n\": 1}')", ()),
        ("select from patch_user_setting(%s, 'params', '{\"n\": 1}')", ()),
        ('select from save_user_settings(%s, \'{"params": {}, "dual_side": {}}\')', ()),
        ("select from link_telegram(%s, '77777')", ()),
        ("select from unlink_telegram(%s)", ()),
        ("select from delete_user(%s)", ()),
    ],
    ids=["upsert", "patch", "save", "link", "unlink", "delete"],
)
@pytest.mark.parametrize("documents", ["with", "without"])
def test_whoever_waits_for_a_deletion_finds_no_user(
    db: Connection, session: Open, bare_uid: str, documents: str, query: str, parameters: tuple[Any, ...]
) -> None:
    if documents == "with":
        fetch(db, "select from register_user(%s)", (bare_uid,))
    deleter, writer = session(), session()
    deleter.run("begin")
    deleter.run("select from delete_user(%s)", (bare_uid,))
    waiting = writer.run_blocked(query, (bare_uid, *parameters))
    deleter.run("commit")
    with refused("US004"):
        waiting.result(DEADLINE)
    assert value(db, LIVE, (bare_uid,)) == 0
    assert fetch(db, "select okx_uid from find_user(%s)", (bare_uid,)) == []


@pytest.mark.parametrize("documents", ["with", "without"])
def test_a_deletion_that_waits_for_a_writer_deletes_what_it_wrote(
    db: Connection, session: Open, bare_uid: str, documents: str
) -> None:
    if documents == "with":
        fetch(db, "select from register_user(%s)", (bare_uid,))
    writer, deleter = session(), session()
    writer.run("begin")
    writer.run(UPSERT, (bare_uid, "params", 5))
    waiting = deleter.run_blocked("select from delete_user(%s)", (bare_uid,))
    writer.run("commit")
    waiting.result(DEADLINE)
    assert value(db, LIVE, (bare_uid,)) == 0
    rows = fetch(db, VERSIONS, (bare_uid,))
    assert [row["settings"] for row in rows][-2:] == [{"n": 5}, {}]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_two_links_of_one_telegram_id_the_second_waits(db: Connection, session: Open, uid: str, end: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER_UID,))
    first, second = session(), session()
    first.run("begin")
    first.run("select from link_telegram(%s, '77777')", (uid,))
    waiting = second.run_blocked("select from link_telegram(%s, '77777')", (OTHER_UID,))
    first.run(end)
    if end == "commit":
        with refused("US008"):
            waiting.result(DEADLINE)
    else:
        waiting.result(DEADLINE)
    owner = uid if end == "commit" else OTHER_UID
    assert value(db, "select okx_uid from find_user('77777')") == owner
    assert value(db, "select okx_uid from telegram_links where telegram_id = '77777'") == owner


def test_a_first_document_bears_the_link_it_waited_for(db: Connection, session: Open, bare_uid: str) -> None:
    linker, writer = session(), session()
    linker.run("begin")
    linker.run("select from link_telegram(%s, '77777')", (bare_uid,))
    waiting = writer.run_blocked(UPSERT, (bare_uid, "params", 1))
    linker.run("commit")
    waiting.result(DEADLINE)
    assert value(db, "select telegram_id from user_settings where okx_uid = %s", (bare_uid,)) == "77777"


def test_a_reader_never_waits(session: Open, db: Connection, uid: str) -> None:
    writer = session()
    writer.run("begin")
    writer.run("select from patch_user_setting(%s, 'params', '{\"leverage\": 2}')", (uid,))
    writer.run("select from link_telegram(%s, '77777')", (uid,))
    fetch(db, "set lock_timeout = '10ms'")  # a wait of any length is an error
    found = one(db, "select version, settings from get_user_settings(%s, 'params')", (TELEGRAM_ID,))
    assert (found["version"], found["settings"]["leverage"]) == (1, 10)
    assert value(db, "select count(*) from pending_keys()") == 5


@pytest.mark.parametrize(
    "write",
    [
        "select from patch_user_setting(%s, 'params', '{\"n\": 1}')",
        "select from patch_user_setting(%s, 'dual_side', '{\"n\": 1}')",  # deleted: decided with the user's row locked
        "select from restore_user_setting(%s, 'dual_side')",
    ],
)
def test_who_waits_while_the_telegram_id_moves_writes_nothing_into_the_other_users_settings(
    db: Connection, session: Open, uid: str, write: str
) -> None:
    fetch(db, "select from register_user(%s)", (OTHER_UID,))
    fetch(db, "select from upsert_user_setting(%s, 'dual_side', '{\"mine\": true}')", (uid,))
    fetch(db, "select from delete_user_setting(%s, 'dual_side')", (uid,))
    before = fetch(db, "select * from user_settings where okx_uid = %s order by id", (OTHER_UID,))
    mover, writer = session(), session()
    mover.run("begin")
    mover.run("select from unlink_telegram(%s)", (uid,))
    mover.run("select from link_telegram(%s, %s)", (OTHER_UID, TELEGRAM_ID))
    waiting = writer.run_blocked(write, (TELEGRAM_ID,))
    mover.run("commit")
    waiting.result(DEADLINE)
    columns = [{**row, "telegram_id": TELEGRAM_ID} for row in before]
    assert fetch(db, "select * from user_settings where okx_uid = %s order by id", (OTHER_UID,)) == columns
