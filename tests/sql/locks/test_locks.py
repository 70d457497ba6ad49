"""Locked keys: whoever changes one is refused, by whatever way; what isn't locked is saved as ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, Session, fetch, one, refused, value

OTHER = "1000000000000001"
BTC = "BTC-USDT-SWAP"
PATCH = "select from patch_user_setting(%s, 'params', %s)"
LOCK = "select * from lock_setting(%s, 'params', %s, 'audit', %s)"


def leverage(db: Connection) -> int:
    found = value(
        db,
        "select settings ->> 'leverage' from user_settings"
        f" where okx_uid = '{OKX_UID}' and setting_type = 'params' and is_active",
    )
    return int(found)


@pytest.fixture
def locked(db: Connection, uid: str) -> str:
    """A user whose leverage is locked, at 12, and was 5."""
    fetch(db, PATCH, (uid, '{"leverage": 5}'))
    fetch(db, PATCH, (uid, '{"leverage": 12}'))
    fetch(db, "set settings_store.actor = 'kim'")
    fetch(db, LOCK, (uid, ["leverage"], "2999-01-01 00:00Z"))
    fetch(db, "reset settings_store.actor")
    return uid


@pytest.fixture
def logins(db: Connection, database_url: str) -> Iterator[Callable[[str], Connection]]:
    """Open sessions of logins that have one role each; no superuser's, who may override everything."""
    made: list[tuple[str, Connection]] = []

    def login(role: str) -> Connection:
        name = f"login_{role}_{value(db, 'select pg_backend_pid()')}_{len(made)}"
        db.execute(
            sql.SQL("create role {} login password 'x' in role {}").format(
                sql.Identifier(name), sql.Identifier(f"settings_{role}")
            )
        )
        connection = psycopg.connect(make_conninfo(database_url), autocommit=True, row_factory=dict_row)
        connection.execute(sql.SQL("set session authorization {}").format(sql.Identifier(name)))
        made.append((name, connection))
        return connection

    yield login
    for name, connection in made:
        connection.close()
        db.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


PARAMS = "setting_type = 'params' and is_active"
FOUND = """'[{{"owner": "{uid}", "kind": "params", "version": 3, "document": {{"leverage": 20}}}}]'"""
CHANGES = {
    "patch": "select from patch_user_setting('{uid}', 'params', '{{\"leverage\": 20, \"use_sl\": true}}')",
    "save": "select from upsert_user_setting('{uid}', 'params', '{{\"leverage\": 20}}')",
    "save without the key": "select from upsert_user_setting('{uid}', 'params', '{{}}')",
    "save all": "select from save_user_settings('{uid}', '{{\"params\": {{\"leverage\": 20}}}}')",
    "default again": "select from patch_user_setting('{uid}', 'params', '{{\"leverage\": null}}')",
    "raw update": f"update user_settings set settings = settings || '{{{{\"leverage\": 20}}}}' where {PARAMS}",
    "raw deletion": f"update user_settings set deleted_at = now() where {PARAMS}",
    "deletion": "select from delete_user_setting('{uid}', 'params')",
    "deletion of the user": "select from delete_user('{uid}')",
    "rollback": "select from rollback_user_setting('{uid}', 'params', 2)",
    "rollback of all": "select from rollback_user_settings('{uid}', (select updated_at from user_settings"
    " where setting_type = 'params' and version = 2))",
    "template": "select from apply_setting_template('t', 'params', '{{{uid}}}')",
    "preview of a template": "select from apply_setting_template('t', 'params', '{{{uid}}}', p_dry_run => true)",
    "import": "select from import_users('[{{\"okx_uid\": \"{uid}\","
    " \"settings\": {{\"params\": {{\"leverage\": 20}}}}}}]')",
    "sync": f"select from import_documents({FOUND}, 'redis', false, false)",
    "preview of a sync": f"select from import_documents({FOUND})",
}  # fmt: skip


@pytest.mark.parametrize("way", CHANGES)
def test_a_locked_key_is_changed_by_no_way(db: Connection, locked: str, way: str) -> None:
    fetch(db, "select from save_setting_template('t', 'params', '{\"leverage\": 20}')")
    before = fetch(db, "select * from user_settings order by id")
    with refused("US013") as error:
        fetch(db, CHANGES[way].format(uid=locked))
    assert json.loads(error.value.diag.message_detail or "") == {
        "leverage": "locked by kim until 2999-01-01 00:00:00 UTC: audit"
    }
    assert fetch(db, "select * from user_settings order by id") == before


def test_other_keys_and_other_documents_are_saved_and_so_is_what_stays_the_same(db: Connection, locked: str) -> None:
    fetch(db, PATCH, (locked, '{"use_sl": true, "leverage": 12}'))
    fetch(db, PATCH, (locked, '{"leverage": 12.0}'))
    fetch(db, "select from patch_user_setting(%s, 'dual_side', '{\"use_dual_sl\": true}')", (locked,))
    fetch(db, "select from link_telegram(%s, '99999')", (locked,))
    fetch(db, "select from register_user(%s)", (OTHER,))
    fetch(db, PATCH, (OTHER, '{"leverage": 3}'))
    assert (leverage(db), value(db, "select max(version) from user_settings where setting_type = 'params'")) == (12, 4)


def test_a_whole_document_a_type_with_its_symbols_and_everybodys_can_be_locked(db: Connection, locked: str) -> None:
    fetch(db, "select from patch_user_setting(%s, 'dual_side', '{}', null, %s)", (locked, BTC))
    change = "select from patch_user_setting(%s, 'dual_side', '{\"use_dual_sl\": true}', null, %s)"
    undo = "select from patch_user_setting(%s, 'dual_side', '{\"use_dual_sl\": false}', null, %s)"
    fetch(db, "select from lock_setting(%s, 'dual_side', null, 'x', null, %s)", (locked, BTC))
    with refused("US013") as error:
        fetch(db, change, (locked, BTC))
    assert list(json.loads(error.value.diag.message_detail or "")) == ["$"]
    for statement in (change, undo):
        fetch(db, statement, (locked, None))
    assert len(fetch(db, "select * from unlock_setting(%s, 'dual_side', null, %s)", (locked, BTC))) == 1
    fetch(db, "select from lock_setting(null, 'dual_side', '{use_dual_sl}', 'x')")
    for symbol in (BTC, None):
        with refused("US013"):
            fetch(db, change, (locked, symbol))
    fetch(db, "select from register_user(%s)", (OTHER,))  # a document that comes to be is no change
    assert fetch(db, "select * from unlock_setting(%s, 'dual_side')", (locked,)) == []
    assert len(fetch(db, "select * from unlock_setting(null, 'dual_side')")) == 1
    fetch(db, change, (locked, BTC))


def test_a_lock_ends_by_itself_is_renewed_and_removed_key_by_key(db: Connection, locked: str) -> None:
    fetch(
        db,
        "alter table setting_locks disable trigger all; update setting_locks set until = now() - interval '1 second'",
    )
    assert fetch(db, "select * from list_locks()") == []
    fetch(db, PATCH, (locked, '{"leverage": 20}'))
    fetch(db, LOCK, (locked, ["leverage", "use_sl"], None))
    assert [row["key"] for row in fetch(db, "select * from setting_locks")] == ["leverage", "use_sl"]
    fetch(db, "select from lock_setting(%s, 'params', '{leverage}', 'longer', '2999-01-01')", (locked,))
    listed = {
        row["key"]: (row["reason"], row["until"] is None)
        for row in fetch(db, "select * from list_locks(%s)", (locked,))
    }
    assert listed == {"leverage": ("longer", False), "use_sl": ("audit", True)}
    assert [row["key"] for row in fetch(db, "select * from unlock_setting(%s, 'params', '{leverage}')", (locked,))] == [
        "leverage"
    ]
    fetch(db, PATCH, (locked, '{"leverage": 30}'))
    with refused("US013"):
        fetch(db, PATCH, (locked, '{"use_sl": true}'))


def test_what_is_no_lock_is_refused(db: Connection, uid: str) -> None:
    for keys, reason, until in (("{}", "x", None), ("{NULL}", "x", None), ('{""}', "x", None), ("{a}", "", None),
                                ("{a}", None, None), ("{a}", "a\nb", None), ("{a}", "x", "2020-01-01"),
                                ("{a}", "x", "infinity"),
                                ("{" + "k" * 201 + "}", "x", None)):  # fmt: skip
        with refused("US010"):
            fetch(db, "select * from lock_setting(%s, 'params', %s, %s, %s)", (uid, keys, reason, until))
    with refused("US002"):
        fetch(db, "select * from lock_setting(%s, 'nothing', null, 'x')", (uid,))
    with refused("US004"):
        fetch(db, "select * from lock_setting(%s, 'params', null, 'x')", (OTHER,))
    with refused("US010"):
        fetch(db, "select * from lock_cold_keys(%s, 'params', null)", (uid,))
    assert fetch(db, "select * from list_locks()") == []


def test_an_admin_overrides_who_says_so_and_nobody_else(
    db: Connection, locked: str, logins: Callable[[str], Connection]
) -> None:
    admin, writer = logins("admin"), logins("writer")
    with refused("US013"):
        fetch(admin, PATCH, (locked, '{"leverage": 20}'))
    for session in (admin, writer):
        fetch(session, "set settings_store.override_locks = on")
    with refused("US013"):
        fetch(writer, PATCH, (locked, '{"leverage": 20}'))
    fetch(admin, PATCH, (locked, '{"leverage": 20}'))
    assert leverage(db) == 20
    fetch(
        admin,
        f"update user_settings set settings = settings || '{{\"leverage\": 30}}' where {PARAMS}",
    )
    fetch(admin, "set settings_store.override_locks = off")
    with refused("US013"):
        fetch(admin, PATCH, (locked, '{"leverage": 40}'))
    assert leverage(db) == 30
    with refused("42501"):
        fetch(
            admin,
            "insert into setting_locks (okx_uid, setting_type, key, reason, locked_by) values ('', 'p', '', 'x', 'x')",
        )
    with refused("42501"):
        fetch(admin, "delete from setting_locks")
    for function in ("lock_setting(null, 'params', null, 'x')", f"unlock_setting('{locked}', 'params')"):
        with refused("42501"):
            fetch(writer, f"select * from {function}")
    assert len(fetch(writer, "select * from list_locks()")) == 1


def test_cold_keys_are_locked_while_the_bot_runs_and_not_for_good_if_it_dies(
    db: Connection, uid: str, logins: Callable[[str], Connection]
) -> None:
    field = "select from save_setting_field('params', %s, 'integer', '3', 1, 125, p_is_hot => %s)"
    fetch(db, field, ("leverage", False))
    fetch(db, field, ("leverage", None))  # as it is
    assert value(db, "select array_agg(key) from list_setting_fields('params') where is_hot = false") == ["leverage"]
    bot = logins("writer")
    until = "now() + interval '2 minutes'"
    for _ in range(2):
        (row,) = fetch(bot, f"select * from lock_cold_keys(%s, 'params', {until})", (uid,))
        assert (row["key"], row["is_cold"]) == ("leverage", True)
    with refused("US013"):
        fetch(db, PATCH, (uid, '{"leverage": 20}'))
    fetch(db, PATCH, (uid, '{"use_sl": true}'))
    fetch(db, LOCK, (uid, ["leverage"], None))
    assert len(fetch(bot, "select * from unlock_cold_keys(%s, 'params')", (uid,))) == 1
    with refused("US013"):  # the operator's
        fetch(db, PATCH, (uid, '{"leverage": 20}'))
    fetch(bot, f"select from lock_cold_keys(%s, 'params', {until})", (uid,))
    fetch(db, "select from unlock_setting(%s, 'params')", (uid,))
    with refused("US013"):  # the bot's
        fetch(db, PATCH, (uid, '{"leverage": 20}'))
    fetch(db, "update setting_locks set until = now()")  # it died
    fetch(db, PATCH, (uid, '{"leverage": 20}'))
    assert leverage(db) == 20


def test_a_save_under_way_is_waited_for_and_one_that_comes_later_is_refused(
    db: Connection, uid: str, session: Callable[[], Session]
) -> None:
    saver, operator, late = session(), session(), session()
    saver.run("begin")
    saver.run(PATCH, (uid, '{"leverage": 7}'))
    locking = operator.run_blocked(LOCK, (uid, ["leverage"], None))
    saver.run("commit")
    locking.result()
    operator.run("begin")
    operator.run(LOCK, (uid, ["leverage"], None))
    fetch(db, "select from list_locks()")
    waiting = late.run_blocked(PATCH, (uid, '{"leverage": 8}'))
    operator.run("commit")
    assert waiting.exception() is not None
    assert leverage(db) == 7


def test_what_was_found_in_redis_of_a_locked_key_is_kept_in_the_history_only(db: Connection, locked: str) -> None:
    item = [{"owner": locked, "kind": "params", "version": 3, "document": {"leverage": 99}}]
    assert one(db, "select * from keep_documents(%s)", (json.dumps(item),))["outcome"] == "edited"
    assert leverage(db) == 12
    history = fetch(
        db, "select settings, change_reason from user_settings where setting_type = 'params' order by version"
    )
    assert [row["change_reason"] for row in history[-2:]] == ["found in Redis, lost against PostgreSQL", "put back"]
    assert history[-2]["settings"] == {"leverage": 99}


def test_a_deleted_document_comes_back_and_an_erased_person_leaves_no_lock(db: Connection, locked: str) -> None:
    fetch(db, "select from unlock_setting(%s, 'params')", (locked,))
    fetch(db, "select from delete_user_setting(%s, 'params')", (locked,))
    fetch(db, LOCK, (locked, None, None))
    fetch(db, "select from restore_user_setting(%s, 'params')", (locked,))
    assert leverage(db) == 12
    fetch(db, "select from lock_setting(null, 'params', '{leverage}', 'all')")
    fetch(db, "select from erase_user(%s)", (locked,))
    assert [row["okx_uid"] for row in fetch(db, "select * from setting_locks")] == [""]


def test_the_probe_is_not_locked_by_what_is_everybodys(db: Connection) -> None:
    fetch(db, "select from lock_setting(null, 'params', null, 'x')")
    for text in ("one", "two"):
        fetch(db, "select from write_probe('params', %s)", (text,))


def test_a_confined_session_locks_its_user_only_and_sees_no_others(db: Connection, locked: str) -> None:
    fetch(db, "select from register_user(%s)", (OTHER,))
    fetch(db, "select from lock_setting(%s, 'params', null, 'theirs')", (OTHER,))
    fetch(db, "select from lock_setting(null, 'params', '{use_sl}', 'all')")
    fetch(db, f"set role settings_admin; set settings_store.okx_uid = '{OKX_UID}'")
    for call in (
        "lock_setting(null, 'params', null, 'x')",
        "unlock_setting(null, 'params')",
        f"lock_cold_keys('{OTHER}', 'params', '2999-01-01')",
    ):
        with refused("US012"):
            fetch(db, f"select * from {call}")
    assert [row["okx_uid"] for row in fetch(db, "select * from list_locks()")] == ["", OKX_UID]
    assert [row["okx_uid"] for row in fetch(db, "select * from setting_locks order by 1")] == ["", OKX_UID]
    with refused("US013"):
        fetch(
            db,
            f"update user_settings set settings = settings || '{{\"use_sl\": null}}' where {PARAMS}",
        )


def test_nothing_depends_on_how_the_session_is_set(db: Connection, locked: str) -> None:
    fetch(
        db,
        "set timezone = 'Asia/Seoul'; set datestyle = 'SQL, DMY'; set search_path = pg_temp;"
        " set settings_store.override_locks = 'off'",
    )
    with refused("US013") as error:
        fetch(db, "select from public.patch_user_setting(%s, 'params', '{\"leverage\": 20}')", (locked,))
    assert "until 2999-01-01 00:00:00 UTC" in (error.value.diag.message_detail or "")


def test_registering_again_fills_in_no_locked_key_and_users_without_a_lock_are_registered(
    db: Connection, uid: str
) -> None:
    fetch(db, "select from upsert_user_setting(%s, 'params', '{\"use_sl\": true}')", (uid,))
    fetch(db, LOCK, (None, ["leverage"], None))
    with refused("US013"):
        fetch(db, "select from register_user(%s)", (uid,))
    fetch(db, "select from register_user(%s)", (OTHER,))
    fetch(db, "select from unlock_setting(null, 'params')")
    fetch(db, "select from register_user(%s)", (uid,))
