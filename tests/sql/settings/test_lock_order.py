"""No two functions take the same locks in opposite orders: whoever waits gets on when the other commits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.helpers.roles import ROLES
from tests.helpers.sessions import DEADLINE, Connection, Session, at_once, fetch, refused, value

Connect = Callable[[], Connection]
Open = Callable[[], Session]

SAVE = "select from upsert_user_setting(%s, %s, jsonb_build_object('n', random()))"
SAVE_BOTH = """
    select from save_user_settings(%s, (select jsonb_object_agg(t, jsonb_build_object('n', random()))
                                          from unnest(array[%s, %s]) t))"""
DELETE_SETTING = "select from delete_user_setting(%s, %s)"
USER_LEVEL = {
    "delete_user": "select from delete_user(%s)",
    "link_telegram": "select from link_telegram(%s, '77777')",
    "register_user": "select from register_user(%s, '77777', 'Lee')",
}


def test_saves_of_two_types_in_opposite_orders_do_not_deadlock(db: Connection, connect: Connect, uid: str) -> None:
    orders = [("params", "dual_side"), ("dual_side", "params")]
    at_once(connect, [(SAVE_BOTH, (uid, *orders[n % 2])) for n in range(20)])
    assert value(db, "select count(*) from user_settings where is_active and version > 1") == 2


def test_of_two_saves_of_several_types_the_second_waits_at_the_first_row(session: Open, uid: str) -> None:
    first, second = session(), session()
    first.run("begin")
    first.run(SAVE, (uid, "dual_side"))
    waiting = second.run_blocked(SAVE_BOTH, (uid, "params", "dual_side"))
    first.run("set lock_timeout = '10s'")
    first.run(SAVE, (uid, "params"))  # the second session holds nothing that comes later in the order
    first.run("commit")
    waiting.result(DEADLINE)


@pytest.mark.parametrize("name", USER_LEVEL)
def test_a_save_of_several_documents_and_a_change_of_the_user_do_not_deadlock(
    db: Connection, session: Open, bare_uid: str, name: str
) -> None:
    """save_user_settings() in two steps; the other session comes in between, where it can at any time."""
    for setting_type in ("params", "dual_side"):  # the rows lie in the order that save_user_settings() doesn't go
        fetch(db, SAVE, (bare_uid, setting_type))
    saver, other = session(), session()
    saver.run("begin")
    saver.run('select from save_user_settings(%s, \'{"dual_side": {"n": 1}}\')', (bare_uid,))
    changed = other.run_blocked(USER_LEVEL[name], (bare_uid,))
    saver.run('select from save_user_settings(%s, \'{"params": {"n": 1}}\')', (bare_uid,))
    saver.run("commit")
    changed.result(DEADLINE)


@pytest.mark.parametrize("name", USER_LEVEL)
def test_a_save_that_holds_a_first_document_and_a_change_of_the_user_do_not_deadlock(
    db: Connection, session: Open, bare_uid: str, name: str
) -> None:
    fetch(db, SAVE, (bare_uid, "dual_side"))
    saver, other = session(), session()
    saver.run("begin")
    saver.run('select from save_user_settings(%s, \'{"dual_side": {"n": 1}}\')', (bare_uid,))
    changed = other.run_blocked(USER_LEVEL[name], (bare_uid,))
    saver.run('select from save_user_settings(%s, \'{"params": {"n": 1}}\')', (bare_uid,))
    saver.run("commit")
    changed.result(DEADLINE)


@pytest.mark.parametrize("was_deleted", [False, True], ids=["first version", "after a deletion"])
@pytest.mark.parametrize("function", ["upsert_user_setting", "patch_user_setting"])
def test_a_first_save_and_a_registration_do_not_deadlock(
    db: Connection, session: Open, bare_uid: str, function: str, was_deleted: bool
) -> None:
    """The registration in its two steps; a bot's save comes in between."""
    if was_deleted:
        fetch(db, SAVE, (bare_uid, "params"))
        fetch(db, DELETE_SETTING, (bare_uid, "params"))
    registrar, bot = session(), session()
    registrar.run("begin")
    registrar.run("select from ensure_user(%s, p_name => 'Lee')", (bare_uid,))
    saved = bot.run_blocked(f"select from {function}(%s, 'params', '{{\"n\": 1}}')", (bare_uid,))
    registrar.run("select from register_user(%s, '77777')", (bare_uid,))
    registrar.run("commit")
    saved.result(DEADLINE)
    assert value(db, "select count(*) from get_user_settings(%s)", (bare_uid,)) == 3


def test_a_link_and_a_save_over_a_deleted_document_do_not_deadlock(db: Connection, session: Open, uid: str) -> None:
    fetch(db, DELETE_SETTING, (uid, "params"))
    linker, bot = session(), session()
    linker.run("begin")
    linker.run("select from ensure_user(%s, p_name => 'Lee')", (uid,))
    saved = bot.run_blocked(SAVE, (uid, "params"))
    linker.run("select from link_telegram(%s, '77777')", (uid,))
    linker.run("commit")
    saved.result(DEADLINE)
    assert value(db, "select telegram_id from get_user_settings(%s, 'params')", (uid,)) == "77777"


def test_clearing_a_mark_never_waits_for_the_writer_that_raises_it(db: Connection, session: Open, uid: str) -> None:
    writer = session()
    writer.run("begin")
    writer.run(SAVE, (uid, "params"))
    fetch(db, "set lock_timeout = '100ms'")
    assert value(db, "select clear_pending(array[%s], array['params'], array[1], array[false])", (uid,)) == 0
    writer.run("commit")
    assert value(db, "select version from mirror_pending where kind = 'params'") == 2


# -- locks that others can't take


def test_no_function_takes_a_lock_that_anybody_can_take_by_its_number(db: Connection) -> None:
    query = "select proname from pg_proc where pronamespace = 'public'::regnamespace and prosrc ~* 'advisory'"
    assert fetch(db, query) == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("mode", ["access share", "row share", "exclusive", "access exclusive"])
def test_nobody_but_the_owner_locks_the_gate_of_erasures(db: Connection, role: str, mode: str) -> None:
    fetch(db, f"set role settings_{role}")
    with refused("42501"), db.transaction():
        fetch(db, f"lock table erasure_gate in {mode} mode")


def test_a_lock_of_the_number_that_erasures_once_had_blocks_none(db: Connection, connect: Connect, uid: str) -> None:
    reader = connect()
    fetch(reader, "set role settings_reader")
    fetch(reader, "select pg_advisory_lock(1581536618), pg_advisory_lock_shared(1581536618)")
    fetch(db, f"set lock_timeout = '{DEADLINE:g}s'")
    fetch(db, "select erase_user(%s)", (uid,))


def test_an_erasure_waits_for_an_import_under_way_and_holds_off_the_next(session: Open, uid: str) -> None:
    importing, erasing, late = session(), session(), session()
    importing.run("begin")
    seen = importing.run("select erasures() as n")[0]["n"]
    erasing.run("begin")
    erased = erasing.run_blocked("select erase_user(%s)", (uid,))
    importing.run("commit")
    erased.result(DEADLINE)
    counted = late.run_blocked("select erasures() as n")
    erasing.run("commit")
    assert counted.result(DEADLINE)[0]["n"] == seen + 1
