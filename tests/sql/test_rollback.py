"""Back to what was: always as new versions, all or nothing, with a reason; a deleted user as it went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.conftest import TELEGRAM_ID
from tests.sql.past import HOUR, MICROSECOND, T0, active, hourly, rows, save, versions
from tests.sql.sessions import DEADLINE, Connection, Session, at_once, fetch, one, refused, value

Connect = Callable[[], Connection]
Open = Callable[[], Session]

OTHER_UID = "1000000000000001"
TYPES = ("dual_side", "params", "preferences")
ROLLBACK = "select * from rollback_user_setting(%s, 'params', %s)"
EXPECTING = "select * from rollback_user_setting(%s, 'params', %s, %s)"
ROLLBACK_ALL = "select * from rollback_user_settings(%s, %s)"
RESTORE = "select * from restore_user_setting(%s, 'params')"
RESTORE_USER = "select * from restore_user(%s)"
DELETE_USER = "select * from delete_user(%s)"
RAW_DELETE_USER = "update app_users set deleted_at = now() where okx_uid = %s"
ENSURE = "select * from ensure_user(%s, %s)"
SAVE = "select (r).version from upsert_user_setting(%s, %s, jsonb_build_object('n', %s::int)) r"
REASON = "select set_config('settings_store.reason', %s, true)"
FOUND_IN_REDIS = "select outcome from import_documents(%s, p_keep_only => true, p_dry_run => false)"


def everything(db: Connection) -> list[Any]:
    tables = ("app_users", "user_settings", "telegram_links", "mirror_pending")
    return [fetch(db, f"select * from {table} t order by t::text") for table in tables]


def contents(db: Connection, uid: str, setting_type: str = "params") -> list[Any]:
    """Each version's n, None for a deletion."""
    return [None if row["deleted_at"] else row["settings"]["n"] for row in rows(db, uid, setting_type)]


def reasons(db: Connection, uid: str, setting_type: str = "params") -> list[str | None]:
    return [row["change_reason"] for row in rows(db, uid, setting_type)]


def forbid(db: Connection, setting_type: str, maximum: int) -> None:
    """From now on the catalogue has an n, of at most this."""
    query = (
        "insert into setting_fields (setting_type, key, json_type, default_value, maximum) values (%s, 'n', 'integer',"
    )
    fetch(db, f"{query} '0', %s)", (setting_type, maximum))


# ------------------------------------------------------------------------------------------ rollback of one document


def test_rollback_never_rewrites_history(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, 2, 3])
    before = rows(db, bare_uid)
    back = one(db, ROLLBACK, (bare_uid, 1))
    assert (back["version"], back["settings"], back["is_active"]) == (4, {"n": 1}, True)
    assert [row | {"id": 0, "is_active": 0} for row in rows(db, bare_uid)[:3]] == [
        row | {"id": 0, "is_active": 0} for row in before
    ]
    assert value(db, "select version from mirror_pending where kind = 'params'") == 4


def test_rollback_to_a_deletion_deletes(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, None, 2])
    back = one(db, ROLLBACK, (bare_uid, 2))
    assert (back["version"], back["settings"], back["deleted_at"] is None) == (4, {}, False)
    assert active(db, bare_uid) == {}
    assert one(db, ROLLBACK, (bare_uid, 4)) == back


def test_rollback_of_a_deletion_brings_the_document_back(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, None])
    assert one(db, ROLLBACK, (bare_uid, 1))["version"] == 3
    assert contents(db, bare_uid) == [1, None, 1]


@pytest.mark.parametrize("target", [3, 1], ids=["itself", "its like"])
def test_rollback_to_what_is_active_makes_no_version(db: Connection, bare_uid: str, target: int) -> None:
    save(db, bare_uid, "params", [1, 2, 1])
    before = everything(db)
    assert one(db, ROLLBACK, (bare_uid, target))["version"] == 3
    assert everything(db) == before


@pytest.mark.parametrize("target", [1, 2, 3, 4], ids=["document", "deletion", "like the active", "another document"])
def test_rollback_expecting_another_version_changes_nothing(db: Connection, bare_uid: str, target: int) -> None:
    save(db, bare_uid, "params", [1, None, 2, 1])
    fetch(db, ROLLBACK, (bare_uid, 3))
    before = everything(db)
    for expected in (0, 1, 4, 6):
        with refused("US001"):
            fetch(db, EXPECTING, (bare_uid, target, expected))
    assert everything(db) == before
    assert one(db, EXPECTING, (bare_uid, target, 5))["version"] == (5 if target == 3 else 6)


def test_rollback_to_what_the_catalogue_no_longer_allows_is_refused(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [99, 5])
    forbid(db, "params", 10)
    before = everything(db)
    with refused("US003") as error:
        fetch(db, ROLLBACK, (bare_uid, 1))
    assert '"n"' in (error.value.diag.message_detail or "")
    assert everything(db) == before


def test_rollback_to_a_version_that_is_not_there_is_refused(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3, 4, 5])
    fetch(db, "select from prune_user_settings(3, '0')")  # 1 and 2 go
    before = everything(db)
    for target in (0, 1, 2, 6, None):
        with refused("US006"):
            fetch(db, ROLLBACK, (bare_uid, target))
    assert everything(db) == before
    assert one(db, ROLLBACK, (bare_uid, 3))["version"] == 6


def test_a_rollback_bears_the_telegram_id_of_today(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, None])
    fetch(db, "select from link_telegram(%s, '77777')", (bare_uid,))
    assert one(db, ROLLBACK, ("77777", 1))["telegram_id"] == "77777"


# ------------------------------------------------------------------------------------------- rollback of all documents


def test_all_documents_go_back_to_one_moment(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    hourly(db, bare_uid, "dual_side", [7, None])
    hourly(db, bare_uid, "preferences", [9], since=T0 + HOUR)
    found = fetch(db, ROLLBACK_ALL, (bare_uid, T0 + HOUR - MICROSECOND))
    assert [(row["setting_type"], row["version"], row["deleted_at"] is None) for row in found] == [
        ("dual_side", 3, True),
        ("params", 4, True),
        ("preferences", 2, False),  # it wasn't there then
    ]
    assert active(db, bare_uid) == {"dual_side": {"n": 7}, "params": {"n": 1}}
    assert (contents(db, bare_uid), contents(db, bare_uid, "dual_side")) == ([1, 2, 3, 1], [7, None, 7])


def test_a_rollback_of_all_that_changes_nothing_makes_no_version(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2])
    hourly(db, bare_uid, "dual_side", [7, None])
    before = everything(db)
    for moment in (T0 + HOUR, "infinity"):
        found = fetch(db, ROLLBACK_ALL, (bare_uid, moment))
        assert [(row["setting_type"], row["version"]) for row in found] == [("dual_side", 2), ("params", 2)]
    assert everything(db) == before


def test_a_rollback_of_all_is_all_or_nothing(db: Connection, bare_uid: str) -> None:
    for setting_type in TYPES:
        hourly(db, bare_uid, setting_type, [99, 5])
    forbid(db, TYPES[-1], 10)  # the last one to be saved
    before = everything(db)
    with refused("US003") as error:
        fetch(db, ROLLBACK_ALL, (bare_uid, T0))
    assert TYPES[-1] in (error.value.diag.message_primary or "")
    assert everything(db) == before


@pytest.mark.parametrize("documents", [[], [1]], ids=["without documents", "with a document"])
def test_a_rollback_to_before_everything_is_refused(db: Connection, bare_uid: str, documents: list[int | None]) -> None:
    hourly(db, bare_uid, "params", documents)
    before = everything(db)
    for moment in (T0 - MICROSECOND, None):
        with refused("US006"):
            fetch(db, ROLLBACK_ALL, (bare_uid, moment))
    assert everything(db) == before


def test_a_rollback_of_all_never_deletes_what_was_there_but_is_pruned(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    hourly(db, bare_uid, "dual_side", [7, 8], since=T0 + HOUR)
    fetch(db, "select from prune_user_settings(2, '0')")
    before = everything(db)
    with refused("US006") as error:
        fetch(db, ROLLBACK_ALL, (bare_uid, T0))
    assert "params" in (error.value.diag.message_detail or "")
    assert everything(db) == before
    fetch(db, ROLLBACK_ALL, (bare_uid, T0 + HOUR))
    assert active(db, bare_uid) == {"params": {"n": 2}, "dual_side": {"n": 7}}


# ---------------------------------------------------------------------------------------- restore of one document


def test_a_deleted_document_comes_back_as_a_new_version(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, 2, None])
    back = one(db, RESTORE, (bare_uid,))
    assert (back["version"], back["settings"], back["deleted_at"]) == (4, {"n": 2}, None)
    before = everything(db)
    assert one(db, RESTORE, (bare_uid,)) == back  # what isn't deleted stays
    assert everything(db) == before
    save(db, bare_uid, "params", [None])
    assert one(db, RESTORE, (bare_uid,))["version"] == 6


def test_nothing_to_restore_is_told(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "dual_side", [1])
    with refused("US006"):
        fetch(db, RESTORE, (bare_uid,))


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "live"])
def test_a_restore_can_expect_a_version(db: Connection, bare_uid: str, is_deleted: bool) -> None:
    save(db, bare_uid, "params", [1, None] if is_deleted else [1, 2])
    before = everything(db)
    for expected in (0, 1, 3):
        with refused("US001"):
            fetch(db, "select from restore_user_setting(%s, 'params', %s)", (bare_uid, expected))
    assert everything(db) == before
    found = one(db, "select * from restore_user_setting(%s, 'params', 2)", (bare_uid,))
    assert found["version"] == (3 if is_deleted else 2)


def test_a_document_that_the_catalogue_no_longer_allows_stays_deleted(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [99, None])
    forbid(db, "params", 10)
    before = everything(db)
    with refused("US003"):
        fetch(db, RESTORE, (bare_uid,))
    assert everything(db) == before


@pytest.mark.parametrize("document", [{"n": 66}, {"leverage": "invalid"}], ids=["valid", "invalid"])
@pytest.mark.parametrize("restore", [RESTORE, RESTORE_USER], ids=["setting", "user"])
def test_what_was_only_found_in_redis_is_not_brought_back(
    db: Connection, bare_uid: str, restore: str, document: dict[str, Any]
) -> None:
    save(db, bare_uid, "params", [1, 2, None] if restore == RESTORE else [1, 2])
    if restore == RESTORE_USER:
        fetch(db, DELETE_USER, (bare_uid,))
    for n in range(2):  # somebody writes into Redis, twice; `verify --repair` keeps that as history only
        item = {"owner": bare_uid, "kind": "params", "version": 0, "document": document | {"m": n}}
        assert value(db, FOUND_IN_REDIS, (Jsonb([item]),)) == "conflict"
    assert versions(db, bare_uid)[-1] == 7
    fetch(db, "select from prune_user_settings(1, '0')")  # keeps what a restore brings back
    fetch(db, restore, (bare_uid,))
    assert active(db, bare_uid) == {"params": {"n": 2}}


# ---------------------------------------------------------------------------------------------- restore of a user


@pytest.mark.parametrize("delete", [DELETE_USER, RAW_DELETE_USER], ids=["delete_user", "raw update"])
@pytest.mark.parametrize("identifier", ["okx_uid", "id"])
def test_a_user_comes_back_with_exactly_what_went_with_the_user(
    db: Connection, uid: str, delete: str, identifier: str
) -> None:
    fetch(db, "select from delete_user_setting(%s, 'preferences')", (uid,))  # before the user
    before = active(db, uid)
    user = one(db, "select * from app_users")
    fetch(db, delete, (uid,))
    assert value(db, "select count(*) from user_settings where is_active and deleted_at is null") == 0

    back = one(db, RESTORE_USER, (str(user[identifier]),))
    assert (back["deleted_at"], back["telegram_id"], back["name"], back["version"]) == (None, TELEGRAM_ID, "Kim", 3)
    assert active(db, TELEGRAM_ID) == before
    assert sorted(before) == ["dual_side", "params"]
    assert [versions(db, uid, t) for t in TYPES] == [[1, 2, 3], [1, 2, 3], [1, 2]]
    found = fetch(db, "select telegram_id from get_user_settings(%s)", (uid,))
    assert {row["telegram_id"] for row in found} == {TELEGRAM_ID}


def test_restoring_a_user_twice_is_restoring_once(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    back = one(db, RESTORE_USER, (uid,))
    fetch(db, "select from delete_user_setting(%s, 'params')", (uid,))
    before = everything(db)
    assert one(db, RESTORE_USER, (uid,)) == back
    assert everything(db) == before  # what was deleted since stays deleted


def test_only_what_the_last_deletion_took_comes_back(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    fetch(db, ENSURE, (uid, None))  # comes back without settings
    save(db, uid, "params", [5])
    fetch(db, DELETE_USER, (uid,))
    fetch(db, RESTORE_USER, (uid,))
    assert active(db, uid) == {"params": {"n": 5}}


def test_a_second_deletion_by_raw_sql_is_none(db: Connection, uid: str) -> None:
    before = active(db, uid)
    fetch(db, DELETE_USER, (uid,))
    deleted = one(db, "select * from app_users")
    fetch(db, RAW_DELETE_USER, (uid,))
    assert one(db, "select * from app_users") == deleted
    fetch(db, RESTORE_USER, (uid,))
    assert active(db, uid) == before


def test_a_user_without_documents_comes_back(db: Connection, bare_uid: str) -> None:
    fetch(db, DELETE_USER, (bare_uid,))
    assert one(db, RESTORE_USER, (bare_uid,))["telegram_id"] == TELEGRAM_ID
    assert active(db, bare_uid) == {}


def test_a_user_comes_back_without_a_telegram_id_that_somebody_else_has_by_now(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    fetch(db, ENSURE, (OTHER_UID, TELEGRAM_ID))
    assert one(db, RESTORE_USER, (uid,))["telegram_id"] is None
    assert value(db, "select okx_uid from find_user(%s)", (TELEGRAM_ID,)) == OTHER_UID
    assert value(db, "select okx_uid from telegram_links where telegram_id = %s", (TELEGRAM_ID,)) == OTHER_UID
    found = fetch(db, "select telegram_id from get_user_settings(%s)", (uid,))
    assert [row["telegram_id"] for row in found] == [None] * 3


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_telegram_id_that_is_being_taken_is_waited_for(db: Connection, session: Open, uid: str, end: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    fetch(db, ENSURE, (OTHER_UID, None))
    taker, restorer = session(), session()
    taker.run("begin")
    taker.run("select from link_telegram(%s, %s)", (OTHER_UID, TELEGRAM_ID))
    waiting = restorer.run_blocked(RESTORE_USER, (uid,))
    taker.run(end)
    if end == "commit":
        with refused("US008"):
            waiting.result(DEADLINE)
        assert fetch(db, "select from find_user(%s)", (uid,)) == []
        assert restorer.run(RESTORE_USER, (uid,))[0]["telegram_id"] is None
    else:
        assert waiting.result(DEADLINE)[0]["telegram_id"] == TELEGRAM_ID
    assert len(active(db, uid)) == 3


def test_a_user_whose_settings_the_catalogue_no_longer_allows_stays_deleted_as_a_whole(
    db: Connection, bare_uid: str
) -> None:
    save(db, bare_uid, "dual_side", [1])
    save(db, bare_uid, "params", [99])
    fetch(db, DELETE_USER, (bare_uid,))
    forbid(db, "params", 10)
    before = everything(db)
    with refused("US003"):
        fetch(db, RESTORE_USER, (bare_uid,))
    assert everything(db) == before


def test_whom_nobody_knows_cannot_be_restored(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    with refused("US007"):
        fetch(db, RESTORE_USER, ("Kim",))
    for nobody in (OTHER_UID, TELEGRAM_ID):
        with refused("US004"):
            fetch(db, RESTORE_USER, (nobody,))


def test_a_deleted_user_cannot_be_deleted_again(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (TELEGRAM_ID,))
    before = everything(db)
    with refused("US004"):
        fetch(db, DELETE_USER, (uid,))
    assert everything(db) == before


# --------------------------------------------------------------------------------------------------- who and why

# What gives the next version a reason of its own, after what has to be there, and that reason.
DELETED = "select from delete_user_setting('587662504768345929', 'params')"
USER_DELETED = "select from delete_user('587662504768345929')"
WITH_REASON = {
    "rollback": ("", "select from rollback_user_setting('587662504768345929', 'params', 1)", "rollback to version 1"),
    "to a deletion": ("", "select from rollback_user_setting('587662504768345929', 'params', 2)",
                      "rollback to version 2"),
    "rollback of all": ("", "select from rollback_user_settings('587662504768345929', '2026-03-01 12:00+00')",
                        "rollback to 2026-03-01 12:00:00+00"),
    "restore": (DELETED, "select from restore_user_setting('587662504768345929', 'params')", "restored"),
    "delete_user": ("", USER_DELETED, "user deleted"),
    "restore_user": (USER_DELETED, "select from restore_user('587662504768345929')", "user restored"),
}  # fmt: skip


@pytest.fixture
def past(db: Connection, connect: Connect, bare_uid: str, request: pytest.FixtureRequest) -> str:
    """The OKX UID of a user with versions to go back to, and what the case needs."""
    fetch(db, "set timezone = 'UTC'")
    hourly(db, bare_uid, "params", [1, None, 2])
    hourly(db, bare_uid, "dual_side", [7])
    save(db, bare_uid, "params", [3])
    before = request.node.callspec.params["case"]
    if WITH_REASON[before][0]:
        fetch(db, WITH_REASON[before][0])
    return bare_uid


@pytest.mark.parametrize("case", WITH_REASON)
@pytest.mark.parametrize("given", ["", "as before the weekend"], ids=["none given", "given"])
def test_a_reason_that_is_given_wins_and_actor_and_reason_are_those_of_the_caller_afterwards(
    db: Connection, past: str, case: str, given: str
) -> None:
    with db.transaction():
        fetch(db, "select set_config('settings_store.actor', 'ops', true)")
        fetch(db, REASON, (given,))
        fetch(db, WITH_REASON[case][1])
        assert value(db, "select current_setting('settings_store.reason')") == given
        fetch(db, ENSURE, (past, None))
        save(db, past, "params", [4])
    made, after = rows(db, past)[-2:]
    assert (made["changed_by"], made["change_reason"]) == ("ops", given or WITH_REASON[case][2])
    assert (after["changed_by"], after["change_reason"]) == ("ops", given or None)


@pytest.mark.parametrize("case", WITH_REASON)
def test_a_reason_of_the_session_is_given_too_and_outlives_the_transaction(
    db: Connection, past: str, case: str
) -> None:
    fetch(db, "set settings_store.reason = 'night shift'")
    fetch(db, WITH_REASON[case][1])
    assert reasons(db, past)[-1] == "night shift"
    assert value(db, "select current_setting('settings_store.reason')") == "night shift"


@pytest.mark.parametrize("given", ["", "given"])
def test_no_reason_survives_an_error_in_a_savepoint(db: Connection, bare_uid: str, given: str) -> None:
    for setting_type in TYPES:
        hourly(db, bare_uid, setting_type, [99, 5])
    for setting_type in ("params", "preferences"):
        forbid(db, setting_type, 10)
    fetch(db, ENSURE, (OTHER_UID, "77777"))
    save(db, OTHER_UID, "params", [5])
    calls = [
        (ROLLBACK, (bare_uid, 1), "US003"),
        (EXPECTING, (bare_uid, 1, 9), "US001"),
        (ROLLBACK, (bare_uid, 9), "US006"),
        (ROLLBACK_ALL, (bare_uid, T0), "US003"),
        ("select from restore_user_setting(%s, 'params', 9)", (bare_uid,), "US001"),
        (DELETE_USER, ("99999",), "US004"),
        (RESTORE_USER, ("99999",), "US004"),
    ]
    with db.transaction():
        fetch(db, REASON, (given,))
        for query, parameters, state in calls:
            with refused(state), db.transaction():
                fetch(db, query, parameters)
            assert value(db, "select current_setting('settings_store.reason')") == given, query
        save(db, bare_uid, "params", [6])
    assert reasons(db, bare_uid)[-1] == (given or None)


# ------------------------------------------------------------------------------------------------- at the same time


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
