"""Where scheduled changes, rollouts, locks, saves of many and restores meet."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.helpers.schedules import after, params, pass_time, patch, row, run, temporary
from tests.helpers.sessions import Connection, Session, fetch, one, refused, value

NOW = "select id from schedule_change(%s, 'params', %s, p_for => '1 hour')"
LATER = "select from schedule_change(%s, 'params', '{\"use_sl\": true}', p_at => now() + interval '1 day')"


@pytest.fixture
def leveraged(db: Connection, uid: str) -> str:
    """A user with leverage 20, and the template careful: leverage 3."""
    fetch(db, "select from patch_user_setting(%s, 'params', '{\"leverage\": 20}')", (uid,))
    fetch(db, "select from save_setting_template('careful', 'params', '{\"leverage\": 3}')")
    return uid


def leverage(db: Connection, uid: str) -> int:
    return int(params(db, uid)["leverage"])


def roll_out(db: Connection) -> None:
    fetch(db, "select from begin_rollout('first', 'careful', 'params', '{100}', p_control => 0)")


def roll_back(db: Connection) -> None:
    fetch(db, "select from end_rollout('first', 'roll_back')")


def test_a_rollout_given_over_a_temporary_change_is_rolled_back_to_what_was_before_both(
    db: Connection, leveraged: str
) -> None:
    before = temporary(db, leveraged, {"leverage": 5, "use_sl": True})
    roll_out(db)
    after(db, before)
    assert leverage(db, leveraged) == 3
    assert params(db, leveraged)["use_sl"] is False
    roll_back(db)
    assert leverage(db, leveraged) == 20
    assert value(db, "select before from rollout_users") == {"leverage": 20}


def test_a_temporary_change_over_a_rollout_that_was_rolled_back_goes_back_to_what_was_before_both(
    db: Connection, leveraged: str
) -> None:
    roll_out(db)
    over = temporary(db, leveraged, {"leverage": 5, "use_sl": True})
    roll_back(db)
    assert leverage(db, leveraged) == 5
    after(db, over)
    assert leverage(db, leveraged) == 20
    assert params(db, leveraged)["use_sl"] is False


def test_between_two_temporary_changes_a_rollout_keeps_its_place(db: Connection, leveraged: str) -> None:
    first = temporary(db, leveraged, {"leverage": 5})
    roll_out(db)
    second = temporary(db, leveraged, {"leverage": 7})
    after(db, first)
    assert leverage(db, leveraged) == 7
    after(db, second)
    assert leverage(db, leveraged) == 3
    roll_back(db)
    assert leverage(db, leveraged) == 20


def test_a_temporary_change_that_came_after_a_rollout_leaves_what_was_before_it(db: Connection, leveraged: str) -> None:
    roll_out(db)
    after(db, temporary(db, leveraged, {"leverage": 20}))  # the value of before, by chance
    assert leverage(db, leveraged) == 3
    roll_back(db)
    assert leverage(db, leveraged) == 20


def test_who_overrides_locks_does_not_for_what_others_scheduled_or_began(db: Connection, leveraged: str) -> None:
    scheduled = patch(db, leveraged, {"leverage": 5})
    fetch(db, "select from lock_setting(%s, 'params', '{leverage}', 'audit')", (leveraged,))
    fetch(db, "set settings_store.override_locks = on")
    pass_time(db, scheduled)
    run(db)
    roll_out(db)
    assert leverage(db, leveraged) == 20
    assert row(db, scheduled)["note"].startswith("US013")
    assert value(db, "select problem from rollout_users") == "US013: params is locked"
    temporary(db, leveraged, {"leverage": 4})  # a change of their own
    assert leverage(db, leveraged) == 4


def test_two_who_change_a_user_for_a_while_at_once_come_one_after_the_other(
    db: Connection, session: Callable[[], Session], leveraged: str
) -> None:
    one_of_them, other = session(), session()
    one_of_them.run("begin")
    one_of_them.run(LATER, (leveraged,))
    waits = other.run_blocked(NOW, (leveraged, json.dumps({"leverage": 4})))
    one_of_them.run(NOW, (leveraged, json.dumps({"leverage": 5})))
    one_of_them.run("commit")
    waits.result(30)
    assert leverage(db, leveraged) == 4


def test_of_many_saved_at_once_it_is_told_whose_settings_are_locked(db: Connection, leveraged: str) -> None:
    fetch(db, "select from lock_setting(%s, 'params', '{leverage}', 'audit')", (leveraged,))
    with refused("US013") as error:
        fetch(db, "select from save_settings_of_users(%s, 'params')", (json.dumps({leveraged: {"leverage": 2}}),))
    assert error.value.diag.message_primary == f"{leveraged}: params is locked"
    assert set(json.loads(error.value.diag.message_detail or "")) == {"leverage"}


@pytest.mark.parametrize("table", ["scheduled_changes", "rollouts"])
def test_a_restore_waits_for_a_relay_at_work_and_not_the_relay_for_it(
    db: Connection, session: Callable[[], Session], leveraged: str, table: str
) -> None:
    patch(db, leveraged, {"leverage": 5})
    roll_out(db)
    relay, restore = session(), session()
    relay.run("begin")
    relay.run(f"select from {table} for no key update")
    restore.run("begin")
    waits = restore.run_blocked("select begin_restore(true)")
    relay.run("select from patch_user_setting(%s, 'params', '{\"leverage\": 9}')", (leveraged,))
    relay.run("commit")
    waits.result(30)
    restore.run("rollback")
    assert one(
        db, "select settings ->> 'leverage' as leverage from user_settings where setting_type = 'params' and is_active"
    ) == {"leverage": "9"}


@pytest.mark.parametrize("way", ["operator", "bot"])
def test_what_is_locked_when_it_is_over_is_taken_back_when_the_lock_is_gone(
    db: Connection, leveraged: str, way: str
) -> None:
    id = temporary(db, leveraged, {"leverage": 5})
    if way == "operator":
        fetch(db, "select from lock_setting(%s, 'params', '{leverage}', 'audit')", (leveraged,))
    else:
        fetch(db, "update setting_fields set is_hot = false where key = 'leverage'")
        fetch(db, "select from lock_cold_keys(%s, 'params', now() + interval '1 hour')", (leveraged,))
    after(db, id)
    assert (row(db, id)["state"], leverage(db, leveraged)) == ("active", 5)
    assert row(db, id)["note"].startswith("US013: params is locked")
    assert run(db) == []
    assert value(db, "select overdue from scheduled_change_statistics()").total_seconds() == 0
    fetch(db, "delete from setting_locks")
    after(db, id)
    assert (row(db, id)["state"], row(db, id)["note"], leverage(db, leveraged)) == ("done", None, 20)


def test_a_roll_back_waits_for_nobody_who_cancels_a_temporary_change(
    db: Connection, session: Callable[[], Session], leveraged: str
) -> None:
    roll_out(db)
    over = temporary(db, leveraged, {"leverage": 5})
    holder = session()
    holder.run("begin")
    holder.run("select from cancel_scheduled_change(%s)", (over,))
    fetch(db, "set lock_timeout = '20s'")
    roll_back(db)
    assert value(db, "select state from rollouts") == "ending"
    holder.run("rollback")
    fetch(db, "select from watch_rollouts()")
    assert value(db, "select state from rollouts") == "ended"
    after(db, over)
    assert leverage(db, leveraged) == 20


def test_whom_a_lock_kept_from_being_rolled_back_is_rolled_back_when_it_is_said_again(
    db: Connection, leveraged: str
) -> None:
    roll_out(db)
    fetch(db, "select from lock_setting(%s, 'params', '{leverage}', 'audit')", (leveraged,))
    roll_back(db)
    roll_back(db)  # locked still
    assert value(db, "select problems from list_rollouts()") == {"not taken back: US013: params is locked": 1}
    fetch(db, "select from unlock_setting(%s, 'params')", (leveraged,))
    roll_back(db)
    assert leverage(db, leveraged) == 20
    assert one(db, "select state, taken_back, problems from list_rollouts()") == {
        "state": "ended", "taken_back": 1, "problems": {},
    }  # fmt: skip
    with refused("US015"):
        roll_back(db)
