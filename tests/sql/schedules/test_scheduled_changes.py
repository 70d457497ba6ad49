"""Scheduled changes: applied once when they are due, taken back when they are over, whatever happens meanwhile."""

from __future__ import annotations

import pytest

from tests.conftest import TELEGRAM_ID
from tests.helpers.schedules import END, after, params, pass_time, patch, row, run, schedule, temporary, version
from tests.helpers.sessions import Connection, fetch, one, value


def test_a_change_takes_effect_when_it_is_due_and_says_which_it_was(db: Connection, uid: str) -> None:
    fetch(db, "select set_config('settings_store.actor', 'ops', false)")
    fetch(db, "select set_config('settings_store.reason', 'news', false)")
    id = patch(db, TELEGRAM_ID, {"leverage": 3})
    fetch(db, "select set_config('settings_store.actor', 'relay', false)")
    assert run(db) == []
    assert version(db, uid)["version"] == 1
    pass_time(db, id)
    assert run(db) == [{"schedule_id": id, "state": "done", "note": None}]
    assert version(db, uid) == {"version": 2, "changed_by": "ops", "change_reason": f"schedule {id}: news"}
    assert params(db, uid)["leverage"] == 3
    assert value(db, "select current_setting('settings_store.actor')") == "relay"
    assert run(db) == []
    assert [row(db, id)[name] for name in ("okx_uid", "state", "users", "changed", "due_at")] == [
        uid,
        "done",
        1,
        1,
        None,
    ]


def test_what_is_for_a_while_is_taken_back(db: Connection, uid: str) -> None:
    before = params(db, uid)
    id = patch(db, uid, {"leverage": 3, "new": {"a": 1}}, f", p_until => {END}, p_reason => 'news'")
    after(db, id)
    assert params(db, uid) == before | {"leverage": 3, "new": {"a": 1}}
    assert row(db, id)["state"] == "active"
    after(db, id)
    assert params(db, uid) == before
    assert version(db, uid)["change_reason"] == f"schedule {id} is over: news"
    kept = one(db, "select * from scheduled_change_users")
    assert [kept[name] for name in ("version_before", "version_after", "version_back", "before", "after")] == [
        1, 2, 3, None, None,
    ]  # fmt: skip


def test_a_change_for_now_is_in_force_at_once(db: Connection, uid: str) -> None:
    id = temporary(db, uid, {"leverage": 3})
    assert (params(db, uid)["leverage"], row(db, id)["state"]) == (3, "active")
    assert value(db, "select until - at = interval '2 hours' and due_at = until from scheduled_changes")
    after(db, id)
    assert params(db, uid)["leverage"] == 10


def test_what_somebody_changed_meanwhile_wins_and_the_history_says_so(db: Connection, uid: str) -> None:
    id = temporary(db, uid, {"leverage": 3, "use_sl": True, "mine": 1})
    fetch(db, "select from patch_user_setting(%s, 'params', '{\"leverage\": 7}')", (uid,))
    after(db, id)
    assert params(db, uid)["leverage"] == 7
    assert "mine" not in params(db, uid)
    assert version(db, uid)["change_reason"] == f"schedule {id} is over; changed since, and kept: leverage"
    assert row(db, id)["note"] == "changed since, and kept: leverage"


@pytest.mark.parametrize("is_pruned", [False, True])
def test_a_document_that_was_not_there_goes_again(db: Connection, bare_uid: str, is_pruned: bool) -> None:
    id = temporary(db, bare_uid, {"leverage": 3})
    if is_pruned:
        fetch(db, "select from patch_user_setting(%s, 'params', '{\"x\": 7}')", (bare_uid,))
        fetch(db, "select from patch_user_setting(%s, 'params', '{\"x\": null}')", (bare_uid,))
        fetch(db, "select from prune_user_settings(1, '0')")
    after(db, id)
    assert fetch(db, "select from get_user_settings(%s)", (bare_uid,)) == []
    assert row(db, id)["state"] == "done"


def test_a_document_deleted_meanwhile_stays_deleted(db: Connection, uid: str) -> None:
    id = temporary(db, uid, {"leverage": 3})
    fetch(db, "select from delete_user_setting(%s, 'params')", (uid,))
    after(db, id)
    assert row(db, id)["note"] == "nothing was taken back: the document was deleted since"
    assert version(db, uid)["version"] == 3


def test_a_rollback_for_a_while_brings_a_deletion_and_the_document_back(db: Connection, uid: str) -> None:
    before = params(db, uid)
    fetch(db, "select from delete_user_setting(%s, 'params')", (uid,))
    fetch(db, "select from restore_user_setting(%s, 'params')", (uid,))
    gone = schedule(db, uid, "p_version => 2", f", p_until => {END}")
    after(db, gone)
    assert fetch(db, "select from get_user_settings(%s, 'params')", (uid,)) == []
    after(db, gone)
    assert params(db, uid) == before
    again = schedule(db, uid, "p_version => 2", f", p_until => {END}")
    after(db, again)
    fetch(db, "select from upsert_user_setting(%s, 'params', '{\"leverage\": 5}')", (uid,))
    after(db, again)
    assert params(db, uid) == {"leverage": 5}
    assert row(db, again)["note"] == "nothing was taken back: a document was saved since"


def test_temporary_changes_lie_over_each_other(db: Connection, uid: str) -> None:
    first = temporary(db, uid, {"leverage": 3, "use_sl": True})
    second = temporary(db, uid, {"leverage": 5})
    after(db, first)
    assert (params(db, uid)["leverage"], params(db, uid)["use_sl"]) == (5, False)
    assert row(db, first)["note"] == f"left to schedule {second}: leverage"
    after(db, second)
    assert params(db, uid)["leverage"] == 10
    inner, outer = temporary(db, uid, {"leverage": 3}), temporary(db, uid, {"leverage": 3})
    after(db, inner)
    assert params(db, uid)["leverage"] == 3  # the longer one holds
    after(db, outer)
    assert params(db, uid)["leverage"] == 10


def test_of_temporary_changes_a_later_one_may_end_first(db: Connection, bare_uid: str) -> None:
    first, second = temporary(db, bare_uid, {"leverage": 3}), temporary(db, bare_uid, {"leverage": 5})
    after(db, second)
    assert params(db, bare_uid) == {"leverage": 3}
    third = temporary(db, bare_uid, {"leverage": 6})
    after(db, first)
    after(db, third)
    assert fetch(db, "select from get_user_settings(%s)", (bare_uid,)) == []


def test_what_somebody_set_between_two_temporary_changes_stays(db: Connection, uid: str) -> None:
    first = temporary(db, uid, {"leverage": 3})
    fetch(db, "select from patch_user_setting(%s, 'params', '{\"leverage\": 7}')", (uid,))
    second = temporary(db, uid, {"leverage": 3})
    after(db, first)
    assert params(db, uid)["leverage"] == 3
    after(db, second)
    assert params(db, uid)["leverage"] == 7
