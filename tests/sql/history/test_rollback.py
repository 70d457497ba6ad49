"""Rollback to what was: always as new versions, all or nothing, and with a reason, as restores have."""

from __future__ import annotations

import pytest

from tests.helpers.past import HOUR, MICROSECOND, T0, active, hourly, rows, save
from tests.helpers.rollbacks import (
    DELETE_USER,
    ENSURE,
    EXPECTING,
    OTHER_UID,
    RESTORE_USER,
    ROLLBACK,
    ROLLBACK_ALL,
    TYPES,
    Connect,
    contents,
    everything,
    forbid,
)
from tests.helpers.sessions import Connection, fetch, one, refused, value

REASON = "select set_config('settings_store.reason', %s, true)"


def reasons(db: Connection, uid: str, setting_type: str = "params") -> list[str | None]:
    return [row["change_reason"] for row in rows(db, uid, setting_type)]


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
