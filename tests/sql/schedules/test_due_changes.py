"""Scheduled changes in any weather: many relays, a killed one, rows that are held, clocks, what fails when due."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.helpers.schedules import END, LATER, after, params, pass_time, patch, row, run, schedule, temporary, version
from tests.helpers.sessions import DEADLINE, Connection, Session, at_once, fetch, one, refused, value

Connect = Callable[[], Connection]
Open = Callable[[], Session]
OTHER, THIRD = "1000000000000001", "1000000000000002"
RUN = "select * from run_due_changes()"
HELD = "another transaction is in the way: tried again every second"


@pytest.fixture
def users(db: Connection, uid: str) -> list[str]:
    """Three users with the default documents."""
    for each in (OTHER, THIRD):
        fetch(db, "select from register_user(%s)", (each,))
    return [uid, OTHER, THIRD]


def test_of_several_relays_at_once_each_change_is_made_by_one(
    db: Connection, connect: Connect, users: list[str]
) -> None:
    ids = [patch(db, who, {"leverage": n}) for who in users for n in (3, 4)]
    pass_time(db, *ids)
    done = at_once(connect, [(RUN, ())] * 3)
    while fetch(db, "select id from scheduled_changes where due_at is not null"):  # held by another of them just then
        pass_time(db, *ids)
        done.append(run(db))
    assert [version(db, who)["version"] for who in users] == [3, 3, 3]
    assert {row(db, id)["state"] for id in ids} == {"done"}
    assert len([state for rows in done for state in rows if state["state"] == "done"]) == 6


def test_a_relay_killed_before_its_commit_leaves_the_change_to_the_next(
    db: Connection, connect: Connect, uid: str
) -> None:
    id = patch(db, uid, {"leverage": 3})
    pass_time(db, id)
    killed = connect()
    fetch(killed, "begin")
    assert [each["state"] for each in run(killed)] == ["done"]
    assert run(db) == []  # nobody waits
    assert row(db, id)["state"] == "waiting"
    fetch(db, "select pg_terminate_backend(%s, 10000)", (killed.info.backend_pid,))
    assert [each["state"] for each in run(db)] == ["done"]
    assert (version(db, uid)["version"], run(db)) == (2, [])


def test_what_was_applied_is_not_applied_again_when_the_clock_is_set_back(db: Connection, uid: str) -> None:
    for_good, for_a_while = patch(db, uid, {"leverage": 3}), temporary(db, uid, {"use_sl": True})
    after(db, for_good)
    fetch(db, "select from patch_user_setting(%s, 'params', '{\"leverage\": 7}')", (uid,))
    before = version(db, uid)
    for hours in (1, -1):  # as if now() were before its moment, and then after it again
        fetch(db, "update scheduled_changes set at = at + make_interval(hours => %s)", (hours,))
        assert run(db) == []
    assert (version(db, uid), row(db, for_a_while)["state"]) == (before, "active")


@pytest.mark.parametrize(
    "held",
    [
        "update user_settings set settings = '{}' where okx_uid = %s and setting_type = 'params' and is_active",
        "update app_users set name = 'Lee' where okx_uid = %s",
        "select from apply_setting_template('default', 'params', array[%s])",
    ],
)
def test_who_is_held_by_another_session_is_tried_again_and_keeps_nobody_waiting(
    db: Connection, session: Open, users: list[str], held: str
) -> None:
    ids = [*(patch(db, who, {"leverage": 3}) for who in users), temporary(db, THIRD, {"use_sl": True})]
    pass_time(db, *ids)
    holder = session()
    holder.run("begin")
    holder.run(held, (users[0],))
    assert {each["schedule_id"]: each["note"] for each in run(db)} == dict.fromkeys(ids) | {ids[0]: HELD}
    assert [params(db, who)["leverage"] for who in users] == [10, 3, 3]
    assert value(db, "select min(due_at) <= clock_timestamp() + interval '1 second' from scheduled_changes")
    holder.run("rollback")
    after(db, ids[0])
    assert (params(db, users[0])["leverage"], row(db, ids[0])["note"]) == (3, None)


def test_it_does_not_depend_on_how_a_session_is_set(db: Connection, connect: Connect, uid: str) -> None:
    odd = connect()
    for setting in ("lock_timeout = 1", "timezone = 'Asia/Seoul'", "intervalstyle = sql_standard", "datestyle = german",
                    "default_transaction_isolation = 'repeatable read'", "search_path = ''"):  # fmt: skip
        fetch(odd, f"set {setting}")
    call = (
        "select id from public.schedule_change(%s, 'params', '{\"leverage\": 3}', p_at => '2099-03-28T12:00Z',"
        " p_for => '1 day')"
    )
    id = value(odd, call, (uid,))
    assert value(db, "select extract(epoch from until - at) = 86400 from scheduled_changes")
    fetch(odd, "set timezone = 'America/New_York'")  # where that day has another length
    fetch(db, "select set_config('timezone', 'America/New_York', false)")
    fetch(db, call.replace("2099-03-28", "2098-03-08"), (uid,))
    assert value(db, "select bool_and(extract(epoch from until - at) = 86400) from scheduled_changes")
    pass_time(db, id)
    fetch(odd, "set default_transaction_read_only = on")
    assert fetch(odd, "select * from public.run_due_changes()") == []
    fetch(odd, "set default_transaction_read_only = off")
    assert [each["state"] for each in fetch(odd, "select * from public.run_due_changes()")] == ["active"]
    assert params(db, uid)["leverage"] == 3


def test_what_fails_when_it_is_due_says_why_and_keeps_nothing_else_from_being_done(
    db: Connection, users: list[str]
) -> None:
    uid = users[0]
    fetch(db, "select from save_setting_template('careful', 'params', '{\"leverage\": 2}')")
    bad = {
        "US003": patch(db, uid, {"leverage": 120}),
        "US001": patch(db, uid, {"note": 1}, ", p_expected_version => 7"),
        "US009": schedule(db, uid, "p_template => 'careful'"),
    }
    broken, good = patch(db, OTHER, {"note": 1}), patch(db, uid, {"leverage": 3})
    fetch(db, "update setting_fields set maximum = 50 where key = 'leverage'")
    fetch(db, "select delete_setting_template('careful')")
    fetch(db, "update scheduled_changes set setting_type = 'nonsense' where id = %s", (broken,))
    after(db, broken, *bad.values(), good)
    for state, id in bad.items():
        assert row(db, id)["state"] == "failed"
        assert row(db, id)["note"].startswith(f"{state}: ")
        assert "120" not in row(db, id)["note"]
    assert (row(db, broken)["state"], row(db, good)["state"]) == ("failed", "done")
    assert version(db, uid)["version"] == 2
    assert one(db, "select to_come, failed from scheduled_change_statistics()") == {"to_come": 0, "failed": 4}
    assert run(db) == []


def test_what_cannot_be_taken_back_stays_and_is_told(db: Connection, uid: str) -> None:
    id = temporary(db, uid, {"leverage": 3})
    fetch(db, "update setting_fields set maximum = 5 where key = 'leverage'")
    after(db, id)
    assert (row(db, id)["state"], params(db, uid)["leverage"]) == ("failed", 3)


@pytest.mark.parametrize("limit", ["p_not_after", "p_until"])
def test_what_could_not_be_applied_in_time_expires(db: Connection, users: list[str], limit: str) -> None:
    ids = [
        patch(db, users[0], {"leverage": 3}, f", {limit} => {END}"),
        value(db, "select id from schedule_changes('params', p_filter => '{}', p_patch => '{\"leverage\": 4}',"
                  f" p_at => {LATER}, {limit} => {END})"),
    ]  # fmt: skip
    pass_time(db, *ids)
    fetch(db, f"update scheduled_changes set at = now() - interval '2 hours', {limit[2:]} = now() - interval '1 hour'")
    assert [each["state"] for each in run(db)] == ["expired", "expired"]
    assert (params(db, users[0])["leverage"], run(db)) == (10, [])


def test_a_filter_is_evaluated_when_it_is_due_and_done_in_pieces(db: Connection, users: list[str]) -> None:
    found = "p_filter => '{\"leverage\": 20}', p_template => 'default'"
    id = value(db, f"select id from schedule_changes('params', {found}, p_at => {LATER}, p_until => {END})")
    other = patch(db, users[1], {"note": 1})
    for who in users[:2]:
        fetch(db, "select from patch_user_setting(%s, 'params', '{\"leverage\": 20}')", (who,))
    assert row(db, id)["users"] is None
    pass_time(db, id, other)
    fetch(db, "update scheduled_changes set due_at = due_at - interval '1 minute' where id = %s", (id,))
    pieces = [fetch(db, "select schedule_id, state from run_due_changes(1)") for _ in range(3)]
    # The others get their turn between.
    assert [tuple(piece.values()) for (piece,) in pieces] == [(id, "waiting"), (other, "done"), (id, "active")]
    assert (row(db, id)["users"], row(db, id)["changed"], run(db)) == (2, 2, [])
    after(db, id)
    assert [params(db, who)["leverage"] for who in users] == [20, 20, 10]


def test_of_a_list_each_is_changed_for_itself(db: Connection, users: list[str]) -> None:
    fetch(db, "select from patch_user_setting(%s, 'params', '{\"tp1_ratio\": 90}')", (OTHER,))
    fetch(db, "select from save_setting_rule('params', 'sum', '$.tp1_ratio + $.leverage <= 100', 'too much')")
    id = value(
        db,
        f"select id from schedule_changes('params', %s, p_patch => '{{\"leverage\": 20}}', p_at => {LATER})",
        ([*users, users[0]],),
    )
    after(db, id)
    assert [params(db, who)["leverage"] for who in users] == [20, 10, 20]
    assert [row(db, id)[name] for name in ("okx_uid", "state", "users", "changed")] == [None, "failed", 3, 2]
    assert row(db, id)["note"].startswith(f"1 of 3 users, {OTHER}: US003: ")
    with refused("US003"):  # for now: all or none
        fetch(db, "select from schedule_changes('params', %s, p_patch => '{\"leverage\": 21}')", (users,))
    assert [params(db, who)["leverage"] for who in users] == [20, 10, 20]
    assert len(fetch(db, "select id from scheduled_changes")) == 1


def test_who_is_deleted_when_it_is_over_has_it_taken_back_when_restored(db: Connection, uid: str) -> None:
    before = params(db, uid)
    id = temporary(db, uid, {"leverage": 3})
    fetch(db, "select from delete_user(%s)", (uid,))
    after(db, id)
    assert row(db, id)["state"] == "active"
    assert row(db, id)["note"].startswith("US004")
    fetch(db, "select from restore_user(%s)", (uid,))
    assert params(db, uid)["leverage"] == 3
    after(db, id)
    assert params(db, uid) == before
    assert row(db, id)["state"] == "done"


def test_who_was_deleted_meanwhile_is_passed_over(db: Connection, uid: str) -> None:
    id = patch(db, uid, {"leverage": 3})
    fetch(db, "select from delete_user(%s)", (uid,))
    after(db, id)
    assert row(db, id)["state"] == "done"
    assert row(db, id)["note"].startswith("US004: ")
    assert value(db, "select max(version) from user_settings where setting_type = 'params'") == 2


def test_what_is_scheduled_goes_with_an_erased_person(db: Connection, users: list[str]) -> None:
    uid = users[0]
    patch(db, uid, {"leverage": 3})
    temporary(db, uid, {"leverage": 4})
    schedule_list = (
        "select id from schedule_changes('params', %s, p_patch => '{\"leverage\": 5}', p_at => " + LATER + ")"
    )
    _, several = (value(db, schedule_list, (list_,)) for list_ in ([uid], users))
    fetch(db, "update scheduled_changes set note = '587662504768345929: x' where id = %s", (several,))
    fetch(db, "select from erase_user(%s)", (uid,))
    assert fetch(db, "select id, users from scheduled_changes") == [{"id": several, "users": 2}]
    assert uid not in str(fetch(db, "select * from scheduled_changes, scheduled_change_users"))
    after(db, several)
    assert [params(db, who)["leverage"] for who in users[1:]] == [5, 5]


def test_an_erasure_under_way_and_a_relay_do_not_wait_for_each_other(
    db: Connection, session: Open, users: list[str]
) -> None:
    ids = [patch(db, who, {"leverage": 3}) for who in users]
    pass_time(db, *ids)
    eraser, relay = session(), session()
    eraser.run("begin")
    eraser.run("select from erase_user(%s)", (users[0],))
    assert {each["schedule_id"] for each in relay.run(RUN)} == {*ids[1:]}
    eraser.run("commit")
    relay.run("begin")
    pass_time(db, *ids)
    patch(db, OTHER, {"leverage": 4})
    pass_time(db, ids[1] + 2)
    relay.run(RUN)
    waiting = eraser.run_blocked("select from erase_user(%s)", (OTHER,))
    relay.run("commit")
    waiting.result(DEADLINE)
    assert value(db, "select count(*) from scheduled_changes where okx_uid = %s", (OTHER,)) == 0


def test_pruning_takes_what_is_over(db: Connection, uid: str) -> None:
    after(db, patch(db, uid, {"leverage": 3}))
    left = patch(db, uid, {"leverage": 4})
    fetch(db, "select from prune_user_settings(5, '1 day')")
    assert len(fetch(db, "select id from scheduled_changes")) == 2
    fetch(db, "select from prune_user_settings(5, '0')")
    assert [each["id"] for each in fetch(db, "select id from scheduled_changes")] == [left]
