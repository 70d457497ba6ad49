"""Scheduled changes: applied once when they are due, taken back when they are over, whatever happens meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import TELEGRAM_ID, Rows
from tests.helpers.sessions import Connection, fetch, one, value

OTHER, THIRD = "1000000000000001", "1000000000000002"
LATER, END = "now() + interval '1 hour'", "now() + interval '2 hours'"


def schedule(db: Connection, who: str, what: str, more: str = "") -> int:
    """Schedule a change of params an hour from now; `what`: the arguments that say which."""
    return int(value(db, f"select id from schedule_change(%s, 'params', {what}, p_at => {LATER}{more})", (who,)))


def patch(db: Connection, who: str, document: dict[str, Any], more: str = "") -> int:
    return schedule(db, who, f"'{json.dumps(document)}'", more)


def temporary(db: Connection, who: str, document: dict[str, Any]) -> int:
    """Change params now, for two hours."""
    call = "select id from schedule_change(%s, 'params', %s, p_for => '2 hours')"
    return int(value(db, call, (who, json.dumps(document))))


def pass_time(db: Connection, *ids: int) -> None:
    """Let what is to come of schedules be due, as it will be one day."""
    for each in ids:
        fetch(
            db,
            "update scheduled_change_users set due_at = now() where schedule_id = %s and due_at is not null",
            (each,),
        )
        fetch(
            db,
            "update scheduled_changes set due_at = now(), at = least(at, now()),"
            " until = case state when 'active' then least(until, now()) else until end where id = %s and due_at is not null",
            (each,),
        )


def run(db: Connection) -> Rows:
    return fetch(db, "select * from run_due_changes()")


def after(db: Connection, *ids: int) -> None:
    pass_time(db, *ids)
    run(db)


def params(db: Connection, who: str) -> Any:
    return value(
        db, "select settings from user_settings where okx_uid = %s and setting_type = 'params' and is_active", (who,)
    )


def version(db: Connection, who: str) -> dict[str, Any]:
    query = (
        "select version, changed_by, change_reason from user_settings"
        " where okx_uid = %s and setting_type = 'params' and is_active"
    )
    return one(db, query, (who,))


def row(db: Connection, id: int) -> dict[str, Any]:
    return one(db, "select * from list_scheduled_changes(p_id => %s)", (id,))


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
