"""Scheduling: what is refused before anything is kept, who may, what is listed, and how it is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import OKX_UID
from tests.helpers.roles import in_role
from tests.helpers.schedules import END, LATER, after, params, pass_time, patch, row, run, temporary, version
from tests.helpers.sessions import Connection, fetch, one, refused, value

OTHER, NOBODY = "1000000000000001", "9999999999999999"
TOKEN = '{"signal_bot_token": "s3cret"}'


@pytest.fixture
def connect_to() -> Iterator[Callable[[str], Connection]]:
    """Open connections by their URLs; closed at the end."""
    with ExitStack() as opened:
        yield lambda url: opened.enter_context(psycopg.connect(url, autocommit=True, row_factory=dict_row))


@pytest.fixture
def both(db: Connection, uid: str) -> str:
    fetch(db, "select from register_user(%s)", (OTHER,))
    return uid


BAD = {
    f"schedule_change('{NOBODY}', 'params', '{{}}')": "US004",
    "schedule_change('x', 'params', '{}')": "US007",
    "schedule_change(null, 'params', '{}')": "US007",
    f"schedule_change('{OKX_UID}', 'nonsense', '{{}}')": "US002",
    f"schedule_change('{OKX_UID}', null, '{{}}')": "US002",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_symbol => 'BTC-USDT-SWAP')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '[]')": "US003",
    f"schedule_change('{OKX_UID}', 'params', 'null')": "US003",
    f"schedule_change('{OKX_UID}', 'params', '{{\"leverage\": 1000}}', p_at => {LATER})": "US003",
    f"schedule_change('{OKX_UID}', 'params', '{{\"signal_bot_token\": \"********\"}}', p_at => {LATER})": "US003",
    f"schedule_change('{OKX_UID}', 'params')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', 'default')": "US010",
    f"schedule_change('{OKX_UID}', 'params', p_template => 'default', p_version => 1)": "US010",
    f"schedule_change('{OKX_UID}', 'params', p_template => 'careful', p_at => {LATER})": "US009",
    f"schedule_change('{OKX_UID}', 'params', p_version => 2, p_at => {LATER})": "US006",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_at => now() - interval '1 second')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_at => 'infinity')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_at => '-infinity')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_at => '20000-01-01')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_at => {END}, p_until => {LATER})": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_at => {END}, p_until => {END})": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_until => 'infinity')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_until => {LATER}, p_for => '1 hour')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_for => '0')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_for => '-1 hour')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_for => '178000000 years')": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_at => {END}, p_not_after => {LATER})": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_at => {LATER}, p_expected_version => -1)": "US010",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_expected_version => 7)": "US001",
    f"schedule_change('{OKX_UID}', 'params', '{{}}', p_at => {LATER}, p_reason => repeat('x', 901))": "US010",
    f"schedule_changes('params', array['{OKX_UID}', '{NOBODY}'], p_patch => '{{}}')": "US004",
    f"schedule_changes('params', array['{OKX_UID}', null], p_patch => '{{}}')": "US007",
    "schedule_changes('params', '{}', p_patch => '{}')": "US010",
    "schedule_changes('params', p_patch => '{}')": "US010",
    f"schedule_changes('params', array['{OKX_UID}'], '{{}}', '{{}}')": "US010",
    "schedule_changes('params', p_filter => '[]', p_patch => '{}')": "US010",
    "schedule_changes('nonsense', p_filter => '{}', p_patch => '{}')": "US002",
    "cancel_scheduled_change(1)": "US014",
    "cancel_scheduled_change(null)": "US014",
    f"list_scheduled_changes('{NOBODY}')": "US004",
}


def test_what_cannot_be_scheduled_is_refused_and_leaves_nothing(db: Connection, uid: str) -> None:
    for call, state in BAD.items():
        with refused(state) as error:
            fetch(db, f"select from {call}")
        assert error.value.diag.message_primary
    assert value(db, "select count(*) from scheduled_changes") == 0
    assert value(db, "select count(*) from scheduled_change_users") == 0
    assert version(db, uid)["version"] == 1


def test_by_template_by_rollback_and_of_a_symbol(db: Connection, uid: str) -> None:
    fetch(db, "select from save_setting_template('careful', 'dual_side', '{\"use_dual_sl\": true}')")
    call = (
        "select * from schedule_change(%s, 'dual_side', p_template => 'careful', p_symbol => 'A-B', p_for => '1 hour')"
    )
    id = one(db, call, (uid,))["id"]
    symbols = "select settings from get_user_settings(%s, 'dual_side', 'A-B') where setting_type = 'dual_side:A-B'"
    assert value(db, symbols, (uid,)) == {"use_dual_sl": True}
    after(db, id)
    assert fetch(db, symbols, (uid,)) == []
    fetch(db, "select from patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (uid,))
    fetch(db, "select from schedule_change(%s, 'params', p_version => 1, p_expected_version => 2)", (uid,))
    assert params(db, uid)["leverage"] == 10


def test_a_change_for_now_is_all_of_the_callers_transaction(db: Connection, uid: str) -> None:
    with db.transaction(force_rollback=True):
        id = one(db, "select id from schedule_change(%s, 'params', '{\"leverage\": 3}', p_at => now())", (uid,))["id"]
        assert (params(db, uid)["leverage"], row(db, id)["state"]) == (3, "done")
    assert params(db, uid)["leverage"] == 10


def test_what_is_to_come_can_be_cancelled_once(db: Connection, uid: str) -> None:
    waiting, kept, back = patch(db, uid, {"n": 1}), temporary(db, uid, {"leverage": 3}), temporary(db, uid, {"k": 1})
    done = value(db, "select id from schedule_change(%s, 'params', '{\"d\": 1}')", (uid,))
    for id, argument in ((waiting, ""), (kept, ""), (back, ", true")):
        assert value(db, f"select state from cancel_scheduled_change({id}{argument})") == "cancelled"
    pass_time(db, waiting, kept, back)
    assert run(db) == []
    document = params(db, uid)
    assert (document["leverage"], document["d"], "n" in document, "k" in document) == (3, 1, False, False)
    assert version(db, uid)["change_reason"] == f"schedule {back} is over"
    for id in (waiting, kept, back, done):
        with refused("US014") as error:
            fetch(db, f"select cancel_scheduled_change({id})")
        assert error.value.diag.message_detail == f"it is over: {row(db, id)['state']}"
        assert error.value.diag.message_hint
    assert value(db, "select count(*) from scheduled_change_users where before is not null or after is not null") == 0


def test_who_may_do_what(db: Connection, both: str, connect_to: Callable[[str], Connection], database_url: str) -> None:
    reader, writer, relay, admin = (
        connect_to(in_role(database_url, role)) for role in ("reader", "writer", "relay", "admin")
    )
    one_user = f"select id from schedule_change('{both}', 'params', '{TOKEN}', p_at => {LATER}, p_for => '1 hour')"
    many = f"select id from schedule_changes('params', p_filter => '{TOKEN}', p_patch => '{TOKEN}', p_at => {LATER})"
    listed = "select id, patch ->> 'signal_bot_token' as token from list_scheduled_changes()"
    run_them, cancel = "select run_due_changes()", "select cancel_scheduled_change(1)"
    for session, call in ((reader, one_user), (relay, one_user), (writer, many), (relay, listed), (writer, run_them),
                          (reader, cancel)):  # fmt: skip
        with refused("42501"):
            fetch(session, call)
    first = value(writer, one_user)
    second = value(admin, many)
    for session in (reader, writer, admin):
        assert fetch(session, listed) == [{"id": id, "token": "********"} for id in (second, first)]
    assert value(reader, "select filter ->> 'signal_bot_token' from list_scheduled_changes() limit 1") == "********"
    pass_time(db, first)
    assert len(fetch(relay, "select * from run_due_changes()")) == 1
    assert params(db, both)["signal_bot_token"] == "s3cret"
    for table in ("scheduled_changes", "scheduled_change_users"):
        for forged in (f"insert into {table} select * from {table}", f"update {table} set due_at = now()"):
            with refused("42501"):
                fetch(admin, forged)
    assert value(writer, f"select state from cancel_scheduled_change({second})") == "cancelled"


def test_a_confined_relay_does_what_is_of_its_user_alone(
    db: Connection, both: str, connect_to: Callable[[str], Connection], database_url: str
) -> None:
    call = f"select id from schedule_changes('params', %s, p_patch => '{{\"n\": 1}}', p_at => {LATER})"
    mine, theirs, shared = patch(db, both, {"n": 1}), patch(db, OTHER, {"n": 1}), value(db, call, ([both, OTHER],))
    pass_time(db, mine, theirs, shared)
    confined = connect_to(in_role(database_url, "relay", confined_to=both))
    assert [each["schedule_id"] for each in run(confined)] == [mine]
    assert {each["schedule_id"] for each in run(db)} == {theirs, shared}


@pytest.mark.parametrize("role", ["writer", "admin"])
def test_a_confined_session_schedules_for_its_user_alone(
    db: Connection, both: str, connect_to: Callable[[str], Connection], database_url: str, role: str
) -> None:
    confined = connect_to(in_role(database_url, role, confined_to=both))
    theirs = patch(db, OTHER, {"leverage": 3})
    shared = value(
        db,
        f"select id from schedule_changes('params', %s, p_patch => '{{\"n\": 1}}', p_at => {LATER})",
        ([both, OTHER],),
    )
    mine = patch(confined, both, {"leverage": 3})
    calls = [f"schedule_change('{OTHER}', 'params', '{{}}')", f"list_scheduled_changes('{OTHER}')",
             *(f"cancel_scheduled_change({id})" for id in (theirs, shared, 999))]  # fmt: skip
    if role == "admin":
        calls += ["schedule_changes('params', p_filter => '{}', p_patch => '{}')",
                  f"schedule_changes('params', array['{both}', '{OTHER}'], p_patch => '{{}}')"]  # fmt: skip
        seen = "select distinct okx_uid from {}"
        for table in ("scheduled_changes", "scheduled_change_users"):
            assert fetch(confined, seen.format(table)) == [{"okx_uid": both}]
    for call in calls:
        with refused("US012"):
            fetch(confined, f"select * from {call}")
    assert [each["id"] for each in fetch(confined, "select id from list_scheduled_changes()")] == [mine]
    assert value(confined, "select to_come from scheduled_change_statistics()") == 1
    assert value(confined, f"select state from cancel_scheduled_change({mine})") == "cancelled"


def test_the_list_is_of_a_user_and_in_pages(db: Connection, both: str) -> None:
    first = patch(db, both, {"n": 1}, ", p_reason => 'why'")
    other = patch(db, OTHER, {"n": 1})
    shared = value(db, "select id from schedule_changes('params', %s, p_patch => '{\"n\": 2}')", ([OTHER, both],))

    def ids(arguments: str) -> list[int]:
        return [each["id"] for each in fetch(db, f"select id from list_scheduled_changes({arguments})")]

    assert ids(f"'{both}'") == [shared, first]
    assert ids("p_limit => 2") == [shared, other]
    assert ids(f"p_before => {other}") == [first]
    assert ids("p_to_come => true") == [other, first]
    assert (row(db, first)["reason"], row(db, shared)["changed"]) == ("why", 2)
