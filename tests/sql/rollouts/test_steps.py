"""Rollouts: who gets what at which step, what is skipped, and what is taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from store.api.rollouts import rollout_bucket
from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, Session, at_once, fetch, one, refused, value

Connect = Callable[[], Connection]
Open = Callable[[], Session]

BEGIN = "select * from begin_rollout('first', 'careful', 'params', '{50,100}')"
LIST = "select * from list_rollouts('first')"
ACTIVE = "select okx_uid, settings, version from user_settings where is_active and setting_type = 'params' order by 1"
LOCK = """
    create function refuse() returns trigger language plpgsql as $$ begin
        raise exception using errcode = 'US013', message = 'settings are locked';
    end $$;
    create trigger a_lock before update on user_settings for each row when (old.okx_uid = '{uid}')
        execute function refuse()
"""


def watch(db: Connection) -> None:
    """Carry on until nothing changes any more."""
    while fetch(db, "select * from watch_rollouts()"):
        pass


def treated(db: Connection) -> list[str]:
    """Who has the template now."""
    return [row["okx_uid"] for row in fetch(db, ACTIVE) if row["settings"].get("leverage") == 3]


def those_below(db: Connection, bucket: int, name: str = "first") -> list[str]:
    return [row["okx_uid"] for row in fetch(db, ACTIVE) if rollout_bucket(name, row["okx_uid"]) < bucket]


def settings(db: Connection, uid: str) -> Any:
    return value(
        db, "select settings from user_settings where is_active and setting_type = 'params' and okx_uid = %s", (uid,)
    )


def patch(db: Connection, uid: str, document: dict[str, Any]) -> None:
    fetch(db, "select from patch_user_setting(%s, 'params', %s)", (uid, json.dumps(document)))


def everything(db: Connection) -> list[Any]:
    tables = ("user_settings", "rollouts", "rollout_users", "rollout_results", "mirror_pending")
    return [fetch(db, f"select * from {table} order by 1, 2, 3") for table in tables]


def test_buckets_are_the_same_in_sql_and_python_and_spread_evenly(db: Connection) -> None:
    uids = [str(10**15 + 7 * n) for n in range(5000)]
    query = "select array_agg(rollout_bucket(%s, u) order by o) from unnest(%s::text[]) with ordinality as _ (u, o)"
    for name in ("first", "조심", 'a"b:c'):
        buckets = value(db, query, (name, uids))
        assert buckets == [rollout_bucket(name, uid) for uid in uids]
        assert 0 <= min(buckets) <= max(buckets) < 10_000
        assert 2350 < sum(bucket < 5000 for bucket in buckets) < 2650
    assert rollout_bucket("careful-first", "587662504768345929") == value(
        db, "select rollout_bucket('careful-first', '587662504768345929')"
    )


def test_a_step_gives_its_share_the_template_as_versions_that_name_the_rollout(db: Connection, users: int) -> None:
    fetch(db, "select set_config('settings_store.actor', 'ops', false)")
    begun = one(db, "select * from begin_rollout('first', 'careful', 'params', '{50,100}', p_reason => 'less risk')")
    assert (begun["state"], begun["step"], begun["changed_by"]) == ("running", 1, "ops")
    assert 10 < len(treated(db)) < 30
    assert treated(db) == those_below(db, 5000)
    row = one(db, "select * from user_settings where is_active and okx_uid = %s", (treated(db)[0],))
    assert row["settings"] == {"leverage": 3, "note": "own"}
    assert (row["version"], row["changed_by"], row["change_reason"]) == (2, "ops", "rollout first: less risk")
    assert value(db, "select count(*) from mirror_pending where kind = 'params' and version = 2") == len(treated(db))
    assert value(db, "select current_setting('settings_store.actor')") == "ops"


def test_the_last_step_leaves_the_control_group_until_the_end(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    assert one(db, "select * from advance_rollout('first')")["step"] == 2
    watch(db)
    assert treated(db) == those_below(db, 9000)
    assert 0 < len(treated(db)) < users
    with refused("US015") as error:
        fetch(db, "select advance_rollout('first')")
    assert "end_rollout" in (error.value.diag.message_hint or "")
    fetch(db, "select end_rollout('first', 'everybody')")
    watch(db)
    assert len(treated(db)) == users
    assert (one(db, LIST)["state"], one(db, LIST)["waiting"]) == ("ended", 0)


def test_ended_to_be_kept_who_has_it_keeps_it_and_nobody_gets_it(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    had = treated(db)
    assert one(db, "select * from end_rollout('first', 'keep')")["state"] == "ended"
    watch(db)
    assert treated(db) == had
    for call in ("advance_rollout('first')", "pause_rollout('first')", "resume_rollout('first')",
                 "end_rollout('first', 'everybody')", "end_rollout('first', 'keep')"):  # fmt: skip
        with refused("US015"):
            fetch(db, f"select {call}")


@pytest.mark.parametrize("first", [None, "keep", "everybody"])
def test_rolled_back_each_gets_back_what_was_unless_it_was_changed_since(
    db: Connection, users: int, first: str | None
) -> None:
    patch(db, those_below(db, 5000)[3], {"leverage": 7})
    fetch(db, "select from save_setting_template('careful', 'params', '{\"leverage\": 3, \"use_sl\": true}')")
    before = {row["okx_uid"]: row["settings"] for row in fetch(db, ACTIVE)}
    fetch(db, BEGIN)
    if first:
        fetch(db, "select end_rollout('first', %s)", (first,))
    changed, noted, deleted, gone = those_below(db, 5000)[:4]
    patch(db, changed, {"leverage": 9})
    patch(db, noted, {"note": "new"})
    fetch(db, "select from delete_user_setting(%s, 'params')", (deleted,))
    fetch(db, "select end_rollout('first', 'roll_back', 'no better')")
    watch(db)
    assert settings(db, changed) == {**before[changed], "leverage": 9}
    assert settings(db, noted) == {**before[noted], "note": "new"}
    assert settings(db, gone)["leverage"] == 7
    assert value(db, "select kept from rollout_users where okx_uid = %s", (changed,)) == ["leverage"]
    for row in fetch(db, ACTIVE):
        if row["okx_uid"] not in (changed, noted, deleted):
            assert row["settings"] == before[row["okx_uid"]]
    now = one(db, LIST)
    assert (now["state"], now["given"], now["problems"]) == ("ended", 0, {"has no params any more": 1})
    reason = value(db, "select change_reason from user_settings where is_active and okx_uid = %s", (gone,))
    assert reason == "rollout first rolled back: no better"
    with refused("US015"):
        fetch(db, "select end_rollout('first', 'roll_back')")


def test_who_was_deleted_when_it_was_rolled_back_gets_back_what_was_once_restored(db: Connection, users: int) -> None:
    uid = those_below(db, 500)[0]
    before = settings(db, uid)
    fetch(db, BEGIN)
    assert settings(db, uid) != before
    fetch(db, "select delete_user(%s)", (uid,))
    fetch(db, "select end_rollout('first', 'roll_back')")
    watch(db)
    now = one(db, LIST)
    assert (now["state"], now["problems"]) == ("ended", {"not taken back: the user is deleted": 1})
    fetch(db, "select restore_user(%s)", (uid,))
    assert settings(db, uid) != before
    fetch(db, "select end_rollout('first', 'roll_back')")
    watch(db)
    assert settings(db, uid) == before
    with refused("US015"):
        fetch(db, "select end_rollout('first', 'roll_back')")


def test_a_filter_says_whom_it_is_about_and_who_has_it_already_is_not(db: Connection, users: int) -> None:
    for uid in those_below(db, 10_000)[:6]:
        patch(db, uid, {"leverage": 7})
    patch(db, those_below(db, 10_000)[0], {"leverage": 3})
    begun = "select from begin_rollout('first', 'careful', 'params', '{90}', '{\"leverage\": 7}')"
    fetch(db, begun)
    assert one(db, LIST)["users"] == 5
    fetch(db, "select end_rollout('first', 'everybody')")
    assert treated(db) == those_below(db, 10_000)[:6]
    fetch(db, "select from begin_rollout('second', 'careful', 'params')")
    assert value(db, "select users from list_rollouts('second')") == users - 6


def test_a_template_that_changes_or_goes_later_changes_nothing(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    fetch(db, "select from save_setting_template('careful', 'params', '{\"leverage\": 99}')")
    fetch(db, "select advance_rollout('first')")
    fetch(db, "select delete_setting_template('careful')")
    fetch(db, "select end_rollout('first', 'everybody')")
    watch(db)
    assert len(treated(db)) == users


def test_who_registers_later_is_not_in_it_and_who_is_erased_is_forgotten(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    fetch(db, "select from register_user(%s)", (OKX_UID,))
    erased, deleted = [uid for uid in those_below(db, 9000) if uid not in treated(db)][:2]
    gone = treated(db)[0]
    for uid in (erased, gone):
        fetch(db, "select erase_user(%s)", (uid,))
    fetch(db, "select from delete_user(%s)", (deleted,))
    fetch(db, "select advance_rollout('first')")
    watch(db)
    now = one(db, LIST)
    assert (now["users"], now["problems"]) == (users - 2, {"has no params any more": 1})
    fetch(db, "select end_rollout('first', 'roll_back')")
    watch(db)
    assert treated(db) == []
    assert settings(db, OKX_UID).get("leverage") != 3


def test_whom_a_lock_or_the_catalogue_refuses_is_skipped_and_noted_and_stops_nobody(db: Connection, users: int) -> None:
    locked, invalid = those_below(db, 5000)[:2]
    patch(db, invalid, {"cooldown_time": 3000})
    fetch(db, "update setting_fields set maximum = 2000 where key = 'cooldown_time'")
    db.execute(LOCK.format(uid=locked).encode())
    fetch(db, BEGIN)
    assert treated(db) == those_below(db, 5000)[2:]
    assert one(db, LIST)["problems"] == {"US013: settings are locked": 1, "US003: invalid settings for params": 1}
    fetch(db, "drop trigger a_lock on user_settings")
    given = treated(db)[0]
    db.execute(LOCK.format(uid=given).replace("create function", "create or replace function").encode())
    fetch(db, "select end_rollout('first', 'roll_back')")
    watch(db)
    assert treated(db) == [given]
    ended = one(db, LIST)
    assert (ended["state"], ended["problems"]["not taken back: US013: settings are locked"]) == ("ended", 1)


def test_whom_others_hold_is_passed_by_and_gets_it_later(db: Connection, users: int, session: Open) -> None:
    holding, held = session(), those_below(db, 5000)[0]
    holding.run("begin")
    holding.run('update user_settings set settings = settings || \'{"note": "held"}\' where okx_uid = %s', (held,))
    fetch(db, "set lock_timeout = '1s'")
    fetch(db, BEGIN)
    assert treated(db) == those_below(db, 5000)[1:]
    assert (one(db, LIST)["waiting"], one(db, LIST)["given_at"] is not None) == (1, True)
    holding.run("commit")
    watch(db)
    assert settings(db, held) == {"leverage": 3, "note": "held"}


def test_paused_nobody_gets_it(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    fetch(db, "select advance_rollout('first', 1)")
    had = treated(db)
    fetch(db, "select set_config('settings_store.reason', 'a holiday', false)")
    assert one(db, "select * from pause_rollout('first')")["note"] == "by hand: a holiday"
    fetch(db, "update rollout_users set version = null where okx_uid = %s", (had[0],))
    assert fetch(db, "select * from watch_rollouts()") == []
    with refused("US015"):
        fetch(db, "select advance_rollout('first')")
    assert one(db, "select * from resume_rollout('first')")["note"] is None


BAD = {
    "'a b', 'careful', 'params'": "US010",
    "null, 'careful', 'params'": "US010",
    "'x', 'nobody', 'params'": "US009",
    "'x', 'careful', 'nonsense'": "US002",
    "'x', 'default', 'preferences'": "US010",
    "'x', null, 'params'": "US009",
    "'x', 'careful', 'params', '{}'": "US010",
    "'x', 'careful', 'params', '{50,50}'": "US010",
    "'x', 'careful', 'params', '{50,20}'": "US010",
    "'x', 'careful', 'params', '{0,20}'": "US010",
    "'x', 'careful', 'params', '{101}'": "US010",
    "'x', 'careful', 'params', '{NaN}'": "US010",
    "'x', 'careful', 'params', '{5.001}'": "US010",
    "'x', 'careful', 'params', '{null}'": "US010",
    "'x', 'careful', 'params', null": "US010",
    "'x', 'careful', 'params', '{{1,2},{3,4}}'": "US010",
    "'x', 'careful', 'params', p_filter => '[]'": "US010",
    "'x', 'careful', 'params', p_filter => null": "US010",
    "'x', 'careful', 'params', p_filter => '{\"leverage\": 99}'": "US010",
    "'x', 'careful', 'params', p_minimum_trades => 0": "US010",
    "'x', 'careful', 'params', p_guard => 'luck'": "US010",
    "'x', 'careful', 'params', p_guard => null": "US010",
    "'x', 'careful', 'params', p_on_worse => 'panic'": "US010",
    "'x', 'careful', 'params', p_step_time => '0'": "US010",
    "'x', 'careful', 'params', p_step_time => '-1 day'": "US010",
    "'x', 'careful', 'params', p_control => 100": "US010",
    "'x', 'careful', 'params', p_control => -1": "US010",
    "'x', 'careful', 'params', '{60}', p_control => 50": "US010",
    "'x', 'careful', 'params', p_control => null": "US010",
    "'x', 'careful', 'params', p_currency => 'u s'": "US010",
    "'x', 'careful', 'params', p_reason => repeat('x', 901)": "US010",
    "'x', 'empty', 'params'": "US010",
    "'x', 'outgrown', 'params'": "US003",
}


def test_what_cannot_be_begun_is_refused_with_why_and_leaves_nothing(db: Connection, users: int) -> None:
    fetch(db, "select from save_setting_template('empty', 'params', '{}')")
    fetch(db, "select from save_setting_template('outgrown', 'params', '{\"cooldown_time\": 3000}')")
    fetch(db, "update setting_fields set maximum = 2000 where key = 'cooldown_time'")
    before = everything(db)
    for arguments, state in BAD.items():
        with refused(state) as error:
            fetch(db, f"select begin_rollout({arguments})")
        assert error.value.diag.message_detail or error.value.diag.message_hint, arguments
        assert everything(db) == before


def test_two_rollouts_of_the_same_keys_are_refused_until_one_has_ended(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    fetch(db, "select from save_setting_template('both', 'params', '{\"leverage\": 4, \"use_sl\": true}')")
    fetch(db, "select from save_setting_template('other', 'params', '{\"use_sl\": true}')")
    with refused("US015"):
        fetch(db, BEGIN)
    with refused("US015") as error:
        fetch(db, "select begin_rollout('second', 'both', 'params')")
    assert error.value.diag.message_detail == "The rollout first, which is running: leverage."
    fetch(db, "select begin_rollout('beside', 'other', 'params')")
    with refused("US015"):
        fetch(db, "select delete_rollout('first')")
    fetch(db, "select end_rollout('first', 'keep')")
    with refused("US015"):
        fetch(db, "select begin_rollout('second', 'both', 'params')")
    fetch(db, "select end_rollout('beside', 'keep')")
    fetch(db, "select begin_rollout('second', 'both', 'params')")
    with refused("US015"):
        fetch(db, "select end_rollout('first', 'roll_back')")
    had = treated(db)
    fetch(db, "select delete_rollout('first')")
    assert (treated(db), value(db, "select count(*) from rollout_users where rollout = 'first'")) == (had, 0)


def test_of_two_begun_at_once_one_is(db: Connection, users: int, connect: Connect) -> None:
    call = "select begin_rollout('{name}', 'careful', 'params')"
    sessions = [connect() for _ in range(2)]
    sessions[0].execute("begin")
    fetch(sessions[0], call.format(name="one"))
    fetch(sessions[1], "set lock_timeout = '100ms'")
    with refused("55P03"):
        fetch(sessions[1], call.format(name="two"))
    sessions[0].execute("commit")
    with refused("US015"):
        fetch(sessions[1], call.format(name="two"))


@pytest.mark.parametrize(
    "call",
    ["advance_rollout('nobody')", "pause_rollout(null)", "resume_rollout('nobody')", "end_rollout('nobody', 'keep')",
     "delete_rollout('nobody')",
     "list_rollout_results('nobody')"],
)  # fmt: skip
def test_a_rollout_that_is_not_is_refused(db: Connection, call: str) -> None:
    with refused("US015"):
        fetch(db, f"select {call}")


def test_advancing_and_ending_are_told_from_when_and_how(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    fetch(db, "select advance_rollout('first', 1)")
    with refused("US015"):
        fetch(db, "select advance_rollout('first', 1)")
    for outcome in ("'panic'", "null", "''"):
        with refused("US010"):
            fetch(db, f"select end_rollout('first', {outcome})")
    with refused("US010"):
        fetch(db, "select watch_rollouts(p_limit => 0)")
    assert one(db, LIST)["step"] == 2


def test_many_who_watch_at_once_give_it_to_each_user_once(db: Connection, users: int, connect: Connect) -> None:
    fetch(db, BEGIN)
    fetch(db, "update rollouts set step = 2, given_at = null")
    at_once(connect, [("select * from watch_rollouts(p_limit => 3)", ())] * 4)
    watch(db)
    assert treated(db) == those_below(db, 9000)
    assert {row["version"] for row in fetch(db, ACTIVE)} == {1, 2}


def test_a_rollout_that_fails_says_so_and_the_others_go_on(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    fetch(db, "select from save_setting_template('other', 'params', '{\"use_sl\": true}')")
    fetch(db, "select begin_rollout('second', 'other', 'params', '{20,100}')")
    fetch(db, "update rollouts set step = 2, given_at = null")
    db.execute(b"create function fail() returns trigger language plpgsql as $$ begin perform 1 / 0; end $$")
    fetch(db, "create trigger fail before update on rollout_users for each row when (old.rollout = 'first')"
              " execute function fail()")  # fmt: skip
    watch(db)
    states = {row["name"]: row for row in fetch(db, "select * from list_rollouts()")}
    assert states["first"]["note"] == "failed: 22012: PostgreSQL refused it"
    assert (states["second"]["waiting"], states["second"]["note"]) == (0, None)
    assert treated(db) == those_below(db, 5000)
    fetch(db, "drop trigger fail on rollout_users")
    watch(db)
    assert treated(db) == those_below(db, 9000)


def test_a_session_confined_to_one_user_sees_and_moves_no_rollout(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    uid, before = those_below(db, 10_000)[0], everything(db)
    fetch(db, "update rollouts set step = 2")
    fetch(db, "select set_config('settings_store.okx_uid', %s, false)", (uid,))
    assert fetch(db, "select * from watch_rollouts()") == []
    fetch(db, "set role settings_admin")
    assert fetch(db, "select from rollouts") == fetch(db, "select from rollout_results") == []
    assert [row["okx_uid"] for row in fetch(db, "select okx_uid from rollout_users")] == [uid]
    fetch(db, "reset role")
    fetch(db, "reset settings_store.okx_uid")
    assert everything(db)[0] == before[0]


def test_nobody_writes_the_tables_by_hand(db: Connection, users: int) -> None:
    fetch(db, BEGIN)
    fetch(db, "set role settings_admin")
    for statement in ("update rollouts set step = 2", "delete from rollout_users", "insert into rollout_results select"
                      " 'first', 1, 1, now(), now(), 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 'worse'"):  # fmt: skip
        with refused("42501"):
            fetch(db, statement)


def test_a_secret_is_masked_wherever_a_rollout_is_shown(db: Connection, users: int) -> None:
    fetch(db, "select from save_setting_template('careful', 'params', '{\"signal_bot_token\": \"hush\"}')")
    fetch(db, BEGIN)
    assert "hush" not in str(fetch(db, LIST))


def test_it_does_the_same_whatever_the_session_is_set_to(db: Connection, users: int) -> None:
    for setting in ("datestyle = 'sql, dmy'", "timezone = 'Asia/Seoul'", "search_path = ''",
                    "intervalstyle = 'iso_8601'", "default_transaction_isolation = 'serializable'"):  # fmt: skip
        fetch(db, f"set {setting}")
    begun = "select name from public.begin_rollout('first', 'careful', 'params', '{50}', p_step_time => '1 day')"
    assert one(db, begun) == {"name": "first"}
    fetch(db, "set default_transaction_read_only = on")
    assert fetch(db, "select * from public.watch_rollouts()") == []
    fetch(db, "set default_transaction_read_only = off")
    assert value(db, "select given from public.list_rollouts()") > 10
    fetch(db, "select public.end_rollout('first', 'roll_back')")
    assert value(db, "select state from public.rollouts") == "ended"
