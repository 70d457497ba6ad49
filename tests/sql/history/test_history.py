"""What the history tells: every version, what it changed, what was in force when; never a secret."""

from __future__ import annotations

import uuid
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.conftest import OKX_UID, TELEGRAM_ID, Rows
from tests.helpers.past import HOUR, MICROSECOND, T0, active, hourly, move, rows, save, versions
from tests.helpers.sessions import Connection, fetch, one, refused, value

OTHER_UID = "1000000000000001"
SECRET = "hunter2-98765432123456789"
MASK = "********"
HISTORY = "select * from user_setting_history(%s, %s, p_limit => %s)"
PAGE = "select * from user_setting_history(%s, %s, %s, %s)"
AT = "select * from user_setting_at(%s, %s, %s)"
VERSION = "select * from user_setting_version(%s, %s, %s)"
DIFF = "select * from diff_user_setting(%s, 'params', %s, %s)"


def history(db: Connection, uid: str, setting_type: str | None = "params", limit: int | None = None) -> Rows:
    return fetch(db, HISTORY, (uid, setting_type, limit))


def pages(db: Connection, uid: str, setting_type: str | None, size: int) -> list[Rows]:
    """All pages, as a reader turns them: before the last row's time."""
    found: list[Rows] = []
    before: datetime | None = None
    while page := fetch(db, PAGE, (uid, setting_type, before, size)):
        found.append(page)
        before = page[-1]["saved_at"]
    return found


def numbers(db: Connection, identifier: str, setting_type: str | None, at: datetime) -> dict[str, Any]:
    """The n of each document in force at a moment."""
    return {row["setting_type"]: row["settings"]["n"] for row in fetch(db, AT, (identifier, setting_type, at))}


def by_actor(db: Connection, actor: str, reason: str) -> None:
    query = "select set_config('settings_store.actor', %s, false), set_config('settings_store.reason', %s, false)"
    fetch(db, query, (actor, reason))


def change(key: str, kind: str, old: Any, new: Any) -> dict[str, Any]:
    return {"key": key, "change": kind, "old": old, "new": new}


# ---------------------------------------------------------------------------------------------------- the history


def test_history_tells_when_who_why_and_what_each_version_changed(db: Connection, bare_uid: str) -> None:
    documents = [{"a": 1, "b": {"x": 1}}, {"a": 1.5, "b": {"x": 1}, "c": None}, {"b": {"x": [1]}}]
    for n, document in enumerate(documents):
        by_actor(db, f"actor {n}", "" if n == 1 else f"reason {n}")
        fetch(db, "select from upsert_user_setting(%s, 'params', %s)", (bare_uid, Jsonb(document)))
    found = history(db, bare_uid)
    assert [row["changes"] for row in found] == [
        [change("a", "removed", 1.5, None), change("b", "changed", {"x": 1}, {"x": [1]}),
         change("c", "removed", None, None)],
        [change("a", "changed", 1, 1.5), change("c", "added", None, None)],
        [change("a", "added", None, 1), change("b", "added", None, {"x": 1})],
    ]  # fmt: skip
    assert [(row["version"], row["changed_by"], row["change_reason"]) for row in found] == [
        (3, "actor 2", "reason 2"),
        (2, "actor 1", None),
        (1, "actor 0", "reason 0"),
    ]
    assert [row["saved_at"] for row in found] == [row["updated_at"] for row in reversed(rows(db, bare_uid))]
    assert {(row["okx_uid"], row["setting_type"], row["is_deleted"]) for row in found} == {(bare_uid, "params", False)}


def test_a_deletion_and_a_comeback_are_versions_with_their_changes(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, None])
    fetch(db, "select from restore_user_setting(%s, 'params')", (bare_uid,))
    found = history(db, bare_uid)
    assert [(row["version"], row["is_deleted"], row["changes"]) for row in found] == [
        (3, False, [change("n", "added", None, 1)]),
        (2, True, [change("n", "removed", 1, None)]),
        (1, False, [change("n", "added", None, 1)]),
    ]


def test_a_first_version_without_keys_changed_nothing(db: Connection, bare_uid: str) -> None:
    fetch(db, "select from upsert_user_setting(%s, 'params', '{}')", (bare_uid,))
    assert [row["changes"] for row in history(db, bare_uid)] == [[]]


def test_the_history_of_all_types_is_one_by_time(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    hourly(db, bare_uid, "dual_side", [1, 2], since=T0 + HOUR / 2)
    hourly(db, bare_uid, "preferences", [1], since=T0 + HOUR)  # the moment of params' second version
    found = [(row["setting_type"], row["version"]) for row in history(db, bare_uid, None)]
    expected = [("params", 3), ("dual_side", 2), ("params", 2), ("preferences", 1), ("dual_side", 1), ("params", 1)]
    assert found == expected


def test_nobody_elses_versions_are_in_the_history(db: Connection, bare_uid: str) -> None:
    fetch(db, "select from register_user(%s)", (OTHER_UID,))
    save(db, bare_uid, "params", [1])
    assert [row["okx_uid"] for row in history(db, bare_uid, None)] == [bare_uid]


@pytest.mark.parametrize("setting_type", [None, "params"])
def test_pages_neither_lose_nor_repeat_a_version_nor_tear_what_was_saved_at_one_moment(
    db: Connection, bare_uid: str, setting_type: str | None
) -> None:
    for each in ("dual_side", "params", "preferences"):
        hourly(db, bare_uid, each, [1, None, 2, 3, None])  # all three types at each moment
    save(db, bare_uid, "params", [4, 5])
    whole = history(db, bare_uid, setting_type)
    assert len(whole) == (17 if setting_type is None else 7)
    for size in (1, 2, 3, 100):
        found = pages(db, bare_uid, setting_type, size)
        assert [row for page in found for row in page] == whole
        assert all(earlier[-1]["saved_at"] > later[0]["saved_at"] for earlier, later in pairwise(found))
        assert all(len(page) >= size for page in found[:-1])


def test_a_page_tells_the_changes_against_a_version_that_is_on_the_next_one(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, 2])
    assert history(db, bare_uid, limit=1)[0]["changes"] == [change("n", "changed", 1, 2)]


@pytest.mark.parametrize("identifier", ["okx_uid", "id"])
def test_a_deleted_users_history_is_found_by_what_never_changes(db: Connection, uid: str, identifier: str) -> None:
    known = str(one(db, "select * from app_users where okx_uid = %s", (uid,))[identifier])
    fetch(db, "select from delete_user(%s)", (uid,))
    assert [(row["version"], row["is_deleted"]) for row in history(db, known)] == [(2, True), (1, False)]
    assert fetch(db, VERSION, (known, "params", 1))[0]["settings"]["leverage"] == 10
    assert value(db, "select count(*) from diff_user_setting(%s, 'params', 1, 2)", (known,)) > 0
    assert [row["setting_type"] for row in fetch(db, AT, (known, None, "infinity"))] == []


CALLS = {
    "history": "select from user_setting_history(%s, %s)",
    "version": "select from user_setting_version(%s, %s, 1)",
    "at": "select from user_setting_at(%s, %s, now())",
    "diff": "select from diff_user_setting(%s, %s, 1, 1)",
    "rollback": "select from rollback_user_setting(%s, %s, 1)",
    "restore": "select from restore_user_setting(%s, %s)",
    "delete": "select from delete_user_setting(%s, %s)",
}


@pytest.mark.parametrize("call", CALLS)
def test_unknown_types_and_users_are_told(db: Connection, uid: str, call: str) -> None:
    with refused("US002"):
        fetch(db, CALLS[call], (uid, "paramz"))
    with refused("US007"):
        fetch(db, CALLS[call], ("Kim", "params"))
    for nobody in (OTHER_UID, "99999", str(uuid.uuid4())):
        with refused("US004"):
            fetch(db, CALLS[call], (nobody, "params"))
    fetch(db, "select from delete_user(%s)", (uid,))
    with refused("US004"):
        fetch(db, CALLS[call], (TELEGRAM_ID, "params"))  # leads to nobody now, and may lead to somebody else


@pytest.mark.parametrize("call", ["rollback", "restore", "delete"])
def test_a_deleted_users_settings_are_not_written(db: Connection, uid: str, call: str) -> None:
    fetch(db, "select from delete_user(%s)", (uid,))
    with refused("US004"):
        fetch(db, CALLS[call], (uid, "params"))
    assert versions(db, uid) == [1, 2]


# ------------------------------------------------------------------------------------------- the history after prune


def test_what_a_version_changed_is_unknown_once_the_one_before_is_pruned(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3, 4])
    fetch(db, "select from prune_user_settings(2, '0')")
    found = [(row["version"], row["changes"]) for row in history(db, bare_uid)]
    assert found == [(4, [change("n", "changed", 3, 4)]), (3, None)]
    assert found[:1] == [(row["version"], row["changes"]) for row in history(db, bare_uid, limit=1)]


def test_a_pruned_version_is_told_from_one_that_is_there(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3, 4])
    fetch(db, "select from prune_user_settings(2, '0')")
    for missing in (0, 1, 2, 5, -1, None):
        with refused("US006") as error:
            fetch(db, VERSION, (bare_uid, "params", missing))
        assert error.value.diag.message_detail == "versions 3 to 4 are there"
    for one_missing in ((1, 4), (4, 1)):
        with refused("US006"):
            fetch(db, DIFF, (bare_uid, *one_missing))
    assert fetch(db, DIFF, (bare_uid, 3, 4)) != []


def test_where_nothing_was_ever_saved_no_version_is_there(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "dual_side", [1])
    with refused("US006") as error:
        fetch(db, VERSION, (bare_uid, "params", 1))
    assert error.value.diag.message_detail == "nothing was ever saved"
    assert history(db, bare_uid) == []


# ------------------------------------------------------------------------------------------------ what was in force


@pytest.mark.parametrize("identifier", [OKX_UID, TELEGRAM_ID])
def test_a_version_is_in_force_from_its_very_microsecond_to_the_next_ones(
    db: Connection, bare_uid: str, identifier: str
) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    for version in (1, 2, 3):
        start = T0 + (version - 1) * HOUR
        assert numbers(db, identifier, "params", start) == {"params": version}
        assert numbers(db, identifier, "params", start + HOUR - MICROSECOND) == {"params": version}
    assert fetch(db, AT, (identifier, "params", T0 + HOUR)) == rows(db, bare_uid)[1:2]


@pytest.mark.parametrize("setting_type", [None, "params"])
def test_before_the_first_version_nothing_was_in_force(db: Connection, bare_uid: str, setting_type: str | None) -> None:
    with refused("US006") as error:
        fetch(db, AT, (bare_uid, setting_type, T0))
    assert error.value.diag.message_detail == "nothing was ever saved"
    hourly(db, bare_uid, "params", [1])
    for moment in (T0 - MICROSECOND, "-infinity", None):
        with refused("US006"):
            fetch(db, AT, (bare_uid, setting_type, moment))


def test_what_was_deleted_then_was_not_in_force(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, None, 2])
    assert numbers(db, bare_uid, "params", T0 + HOUR - MICROSECOND) == {"params": 1}
    assert numbers(db, bare_uid, "params", T0 + HOUR) == {}
    assert numbers(db, bare_uid, "params", T0 + 2 * HOUR - MICROSECOND) == {}
    assert numbers(db, bare_uid, "params", T0 + 2 * HOUR) == {"params": 2}


def test_all_types_are_told_as_they_were_at_one_moment(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, None])
    hourly(db, bare_uid, "dual_side", [7, 8], since=T0 + HOUR)
    assert numbers(db, bare_uid, None, T0) == {"params": 1}
    assert numbers(db, bare_uid, None, T0 + HOUR) == {"params": 2, "dual_side": 7}
    assert numbers(db, bare_uid, None, T0 + 2 * HOUR) == {"dual_side": 8}
    assert numbers(db, bare_uid, "dual_side", T0 + 2 * HOUR) == {"dual_side": 8}
    with refused("US006"):  # there was something of the user, but nothing of this type
        fetch(db, AT, (bare_uid, "dual_side", T0))


def test_a_deleted_users_past_is_told(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1])
    hourly(db, bare_uid, "dual_side", [7])
    known = str(value(db, "select id from app_users"))
    fetch(db, "select from delete_user(%s)", (bare_uid,))
    for identifier in (bare_uid, known):
        assert numbers(db, identifier, None, T0) == {"params": 1, "dual_side": 7}
        assert fetch(db, AT, (identifier, None, "infinity")) == []


@pytest.mark.parametrize("setting_type", [None, "params"])
def test_what_was_in_force_then_but_was_pruned_is_not_taken_for_nothing(
    db: Connection, bare_uid: str, setting_type: str | None
) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3])
    hourly(db, bare_uid, "dual_side", [7])
    fetch(db, "select from prune_user_settings(1, '0')")
    assert versions(db, bare_uid) == [3]
    assert numbers(db, bare_uid, "dual_side", T0 + HOUR) == {"dual_side": 7}
    for moment in (T0, T0 + 2 * HOUR - MICROSECOND):
        with refused("US006"):
            fetch(db, AT, (bare_uid, setting_type, moment))
    assert numbers(db, bare_uid, setting_type, T0 + 2 * HOUR)["params"] == 3


def test_versions_saved_in_one_transaction_have_moments_of_their_own(db: Connection, bare_uid: str) -> None:
    with db.transaction():
        save(db, bare_uid, "params", [1, 2, None, 3])
    found = rows(db, bare_uid)
    assert [numbers(db, bare_uid, "params", row["updated_at"]) for row in found] == [
        {"params": 1},
        {"params": 2},
        {},
        {"params": 3},
    ]


def test_versions_go_on_in_order_when_the_clock_was_ahead(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1])
    ahead = value(db, "select now() + interval '1 day'")
    move(db, bare_uid, "params", {1: ahead})
    save(db, bare_uid, "params", [2, None])
    assert [row["updated_at"] for row in rows(db, bare_uid)] == [ahead, ahead + MICROSECOND, ahead + 2 * MICROSECOND]
    assert [row["version"] for row in history(db, bare_uid)] == [3, 2, 1]


# ----------------------------------------------------------------------------------------------------- differences


def test_a_difference_goes_from_any_version_to_any_other(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, 2, None])
    assert fetch(db, DIFF, (bare_uid, 1, 1)) == []
    (there,), (back,) = fetch(db, DIFF, (bare_uid, 1, 2)), fetch(db, DIFF, (bare_uid, 2, 1))
    assert there == {"key": "n", "change": "changed", "old_value": 1, "new_value": 2}
    assert back == {"key": "n", "change": "changed", "old_value": 2, "new_value": 1}
    (gone,) = fetch(db, DIFF, (bare_uid, 1, 3))
    assert gone == {"key": "n", "change": "removed", "old_value": 1, "new_value": None}


def test_equal_numbers_and_orders_are_no_difference(db: Connection) -> None:
    query = "select count(*) from _document_changes('params', %s::jsonb, %s::jsonb)"
    assert value(db, query, ('{"a": 1, "b": {"x": 1, "y": 2}}', '{"b": {"y": 2.0, "x": 1}, "a": 1.00}')) == 0
    assert value(db, query, ('{"a": null}', "{}")) == 1
    assert value(db, "select changes_as_json('params', '{}', '{}')") == []


# --------------------------------------------------------------------------------------------------------- secrets


def test_a_secret_is_in_no_history_and_no_difference(db: Connection, bare_uid: str) -> None:
    for token in (None, SECRET, f"{SECRET}-2", None):
        document = {"leverage": 5, "signal_bot_token": token}
        fetch(db, "select from upsert_user_setting(%s, 'params', %s)", (bare_uid, Jsonb(document)))
    save(db, bare_uid, "params", [None])
    fetch(db, "select from rollback_user_setting(%s, 'params', 2)", (bare_uid,))
    found = history(db, bare_uid)
    assert SECRET not in str(found)
    of_token = [c for row in reversed(found) for c in row["changes"] if c["key"] == "signal_bot_token"]
    assert [(c["change"], c["old"], c["new"]) for c in of_token] == [
        ("added", None, None),
        ("changed", None, MASK),
        ("changed", MASK, MASK),
        ("changed", MASK, None),
        ("removed", None, None),
        ("added", None, MASK),
    ]
    differences = [fetch(db, DIFF, (bare_uid, a, b)) for a in range(1, 7) for b in range(1, 7)]
    assert SECRET not in str(differences)
    assert MASK in str(differences)
    assert active(db, bare_uid)["params"]["signal_bot_token"] == SECRET


def test_a_secret_that_is_no_string_is_masked_too(db: Connection) -> None:
    for odd in ({"deep": SECRET}, [SECRET], 12345, True, "", MASK):
        document = Jsonb({"signal_bot_token": odd, "other": 1})
        assert value(db, "select _mask_secrets('params', %s)", (document,)) == {"signal_bot_token": MASK, "other": 1}
        (shown,) = value(db, "select changes_as_json('params', '{}', %s - 'other')", (document,))
        assert shown == change("signal_bot_token", "added", None, MASK)


def test_only_secrets_are_masked(db: Connection) -> None:
    for document in ({}, {"leverage": 5}, {"signal_bot_token": None}, {"deep": {"signal_bot_token": "x"}}):
        assert value(db, "select _mask_secrets('params', %s)", (Jsonb(document),)) == document
    token = {"signal_bot_token": "x"}
    assert value(db, "select _mask_secrets('dual_side', %s)", (Jsonb(token),)) == token


@pytest.mark.parametrize(
    ("given", "current", "expected"),
    [
        ({"signal_bot_token": MASK, "n": 1}, {"signal_bot_token": SECRET}, {"signal_bot_token": SECRET, "n": 1}),
        ({"signal_bot_token": MASK, "n": 1}, {}, {"n": 1}),
        ({"signal_bot_token": MASK}, {"signal_bot_token": None}, {"signal_bot_token": None}),
        ({"signal_bot_token": "new"}, {"signal_bot_token": SECRET}, {"signal_bot_token": "new"}),
        ({"n": 1}, {"signal_bot_token": SECRET}, {"n": 1}),
        ({"signal_bot_webhook_url": MASK}, {"signal_bot_webhook_url": "x"}, {"signal_bot_webhook_url": MASK}),
    ],
    ids=["kept", "left out", "null", "replaced", "not given", "no secret"],
)
def test_a_mask_stands_for_the_secret_there_is(
    db: Connection, given: dict[str, Any], current: dict[str, Any], expected: dict[str, Any]
) -> None:
    query = "select _unmask_secrets('params', %s, %s)"
    assert value(db, query, (Jsonb(given), Jsonb(current))) == expected


def test_a_shown_document_can_be_taken_back_as_it_was(db: Connection) -> None:
    query = "select _unmask_secrets('params', _mask_secrets('params', d), d) = d from (select %s::jsonb as d) as x"
    for document in ({"signal_bot_token": SECRET, "n": 1}, {"signal_bot_token": None}, {}):
        assert value(db, query, (Jsonb(document),)) is True
