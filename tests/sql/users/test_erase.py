"""An erasure leaves nothing of a person, and who comes too late for it finds nobody, or whoever registered since."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from store.operations import embedded
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.sessions import DEADLINE, Connection, Session, at_once, fetch, one, refused, value
from tests.helpers.trades import record, trade

Open = Callable[[], Session]

ERASE = "select * from erase_user(%s)"
REGISTER = "select from register_user(%s, %s, 'Kim')"
SAVE = "select version from upsert_user_setting(%s, %s, %s)"
OTHER = "1000000000000002"
EARLIER, EARLIEST = "424242", "31337"
NAME, USERNAME, VALUE, OLD_VALUE = "Kim Unmistakable", "kim_unmistakable", "an-unmistakable-value", "an-earlier-value"
REASON = "because-of-unmistakable-kim"
ORDER = "order-of-unmistakable-kim"

# What waits for a row that an erasure holds. `uid` has params in versions 1 and 2, preferences in 1, 2 (a deletion).
WRITES = {
    "upsert": "select from upsert_user_setting(%(uid)s, 'params', '{\"n\": 1}')",
    "upsert of what is active": "select from upsert_user_setting(%(uid)s, 'params', '{\"leverage\": 20}')",
    "upsert over a deletion": "select from upsert_user_setting(%(uid)s, 'preferences', '{\"n\": 1}')",
    "upsert of an expected version": "select from upsert_user_setting(%(uid)s, 'params', '{\"n\": 1}', 2)",
    "upsert by Telegram ID": "select from upsert_user_setting(%(telegram)s, 'params', '{\"n\": 1}')",
    "patch": "select from patch_user_setting(%(uid)s, 'params', '{\"n\": 1}')",
    "patch over a deletion": "select from patch_user_setting(%(uid)s, 'preferences', '{\"n\": 1}')",
    "save of several": 'select from save_user_settings(%(uid)s, \'{"params": {"n": 1}, "dual_side": {"n": 1}}\')',
    "delete": "select from delete_user_setting(%(uid)s, 'params')",
    "restore": "select from restore_user_setting(%(uid)s, 'preferences')",
    "rollback": "select from rollback_user_setting(%(uid)s, 'params', 1)",
    "rollback to a deletion": "select from rollback_user_setting(%(uid)s, 'dual_side', 2)",
    "rollback of all": "select from rollback_user_settings(%(uid)s, now())",
    "link": "select from link_telegram(%(uid)s, '77777')",
    "unlink": "select from unlink_telegram(%(uid)s)",
    "delete of the user": "select from delete_user(%(uid)s)",
    "restore of the user": "select from restore_user(%(uid)s)",
    "template": "select from apply_setting_template('careful', 'params', array[%(uid)s])",
    "import": """select from import_users('[{"okx_uid": "587662504768345929", "settings": {"params": {"n": 1}}}]')""",
    "erase": "select from erase_user(%(uid)s)",
}


@pytest.fixture
def uid(db: Connection) -> str:
    fetch(db, REGISTER, (OKX_UID, TELEGRAM_ID))
    fetch(db, SAVE, (OKX_UID, "params", '{"leverage": 20}'))
    fetch(db, "select from delete_user_setting(%s, 'preferences')", (OKX_UID,))
    fetch(db, "select from delete_user_setting(%s, 'dual_side')", (OKX_UID,))
    fetch(db, SAVE, (OKX_UID, "dual_side", '{"n": 3}'))
    fetch(db, "select from save_setting_template('careful', 'params', '{\"leverage\": 2}')")
    return OKX_UID


@pytest.mark.parametrize("name", WRITES)
def test_who_waits_for_a_row_that_is_erased_finds_nobody(db: Connection, session: Open, uid: str, name: str) -> None:
    eraser, writer = session(), session()
    eraser.run("begin")
    eraser.run(ERASE, (uid,))
    waiting = writer.run_blocked(WRITES[name], {"uid": uid, "telegram": TELEGRAM_ID})
    eraser.run("commit")
    with refused("US004"):
        waiting.result(DEADLINE)
    assert value(db, "select count(*) from app_users") == 0


# Of the new user, who has version 1 of everything: the outcome, and what has a second version.
ANEW: dict[str, tuple[str | None, set[str]]] = {
    **dict.fromkeys(WRITES, (None, {"params"})),
    "upsert over a deletion": (None, {"preferences"}),
    "upsert of an expected version": ("US001", set()),
    "patch over a deletion": (None, {"preferences"}),
    "save of several": (None, {"params", "dual_side"}),
    "restore": (None, set()),
    "rollback": (None, set()),
    "rollback to a deletion": ("US006", set()),
    "rollback of all": (None, set()),
    "link": (None, set()),
    "unlink": (None, set()),
    "delete of the user": (None, {"params", "preferences", "dual_side"}),
    "restore of the user": (None, set()),
}
del ANEW["erase"]


@pytest.mark.parametrize("name", ANEW)
def test_who_waits_while_a_person_is_erased_and_registered_again_meets_the_new_user(
    db: Connection, session: Open, uid: str, name: str
) -> None:
    eraser, writer = session(), session()
    eraser.run("begin")
    eraser.run(ERASE, (uid,))
    eraser.run(REGISTER, (uid, TELEGRAM_ID))
    writer.run("set statement_timeout = '10s'")
    waiting = writer.run_blocked(WRITES[name], {"uid": uid, "telegram": TELEGRAM_ID})
    eraser.run("commit")
    state, changed = ANEW[name]
    if state:
        with refused(state):
            waiting.result(DEADLINE)
    else:
        waiting.result(DEADLINE)
    assert {
        row["setting_type"] for row in fetch(db, "select setting_type from user_settings where version = 2")
    } == changed
    brought_back = value(db, "select count(*) from user_settings where settings @> '{\"leverage\": 20}'")
    assert brought_back == (name == "upsert of what is active")  # which is its own
    telegram_id = {"link": "77777", "unlink": None}.get(name, TELEGRAM_ID)
    user = one(db, "select telegram_id, deleted_at is not null as is_deleted from app_users")
    assert user == {"telegram_id": telegram_id, "is_deleted": name == "delete of the user"}
    erased = fetch(db, "select kind from mirror_pending where erased order by kind")
    assert [row["kind"] for row in erased] == ["api_keys", "dual_side:*"]  # which nobody has saved anew


def test_an_erasure_that_waited_for_another_and_a_new_registration_erases_the_new_user(
    db: Connection, session: Open, uid: str
) -> None:
    first, second = session(), session()
    first.run("begin")
    first.run(ERASE, (uid,))
    first.run(REGISTER, (uid, TELEGRAM_ID))
    waiting = second.run_blocked(ERASE, (uid,))
    first.run("commit")
    (receipt,) = waiting.result(DEADLINE)
    assert receipt == {"okx_uid": uid, "settings": 3, "versions": 3, "trades": 0, "telegram_ids": [TELEGRAM_ID]}
    assert value(db, "select count(*) from app_users") == 0


def test_of_erasures_at_once_one_erases(db: Connection, connect: Callable[[], Connection], uid: str) -> None:
    query = """do $$ begin perform erase_user('587662504768345929'); perform set_config('erased.by_me', 'yes', false);
               exception when sqlstate 'US004' then null; end $$"""
    connections = [connect() for _ in range(6)]
    opened = iter(connections)
    at_once(lambda: next(opened), [(query, ())] * 6)
    did = [value(each, "select current_setting('erased.by_me', true)") == "yes" for each in connections]
    assert sum(did) == 1
    assert value(db, "select max(version) from mirror_pending where kind = 'params'") == 3  # marked once


def test_an_erasure_and_a_bulk_update_that_waits_do_not_deadlock(db: Connection, session: Open, uid: str) -> None:
    """Archiving checks the foreign key, after all rows of the statement are locked."""
    fetch(db, REGISTER, (OTHER, None))
    fetch(db, SAVE, (OTHER, "params", '{"n": 0}'))  # its row lies after the person's
    blocker, updater, eraser = session(), session(), session()
    blocker.run("begin")
    blocker.run(SAVE, (OTHER, "params", '{"n": 1}'))
    update = """with f as materialized (select id from user_settings where setting_type = 'params' and is_active
                                         order by okx_uid desc for update)
                update user_settings s set settings = '{"bulk": true}' from f where s.id = f.id"""
    updated = updater.run_blocked(update)
    erased = eraser.run_blocked(ERASE, (uid,))
    blocker.run("commit")
    updated.result(DEADLINE)
    erased.result(DEADLINE)
    assert [row["okx_uid"] for row in fetch(db, "select okx_uid from app_users")] == [OTHER]
    assert value(db, "select settings from get_user_settings(%s, 'params')", (OTHER,)) == {"bulk": True}


# -- what is left of a person


@pytest.fixture
def person(db: Connection, database_url: str) -> list[str]:
    """A user with a history, and others; all words by which the user is known."""
    fetch(db, "select from register_user(%s, %s, %s, %s)", (OKX_UID, EARLIEST, NAME, USERNAME))
    for telegram_id in (EARLIER, TELEGRAM_ID):
        fetch(db, "select from link_telegram(%s, %s)", (OKX_UID, telegram_id))
    fetch(db, "select set_config('settings_store.reason', %s, false)", (REASON,))
    fetch(db, SAVE, (OKX_UID, "params", f'{{"note": "{OLD_VALUE}"}}'))
    fetch(db, SAVE, (OKX_UID, "params", f'{{"note": "{VALUE}"}}'))
    fetch(db, "select from delete_user_setting(%s, 'dual_side')", (OKX_UID,))
    fetch(db, "select set_config('settings_store.reason', '', false)")
    fetch(db, REGISTER, (OTHER, "55555"))
    fail = "select fail_pending(array[%s], '{params}', '{3}', array[%s])"
    fetch(db, fail, (OKX_UID, f"refused: {VALUE}"))
    record(db, trade(exit_order_id=ORDER))
    ids = fetch(
        db,
        "select id::text from app_users where okx_uid = %s union select id::text from user_settings where okx_uid = %s",
        (OKX_UID, OKX_UID),
    )
    return [
        OKX_UID,
        TELEGRAM_ID,
        EARLIER,
        EARLIEST,
        NAME,
        USERNAME,
        VALUE,
        OLD_VALUE,
        ORDER,
        REASON,
        *(row["id"] for row in ids),
    ]


def dump(url: str) -> str:
    """Every row of every table, as pg_dump writes them."""
    program = embedded.wheel_programs() / "pg_dump"
    done = subprocess.run(
        [str(program) if program.exists() else "pg_dump", "--data-only", "--inserts", "--dbname", url],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def everything(db: Connection) -> str:
    """Every row of every table of ours, as text."""
    tables = fetch(
        db,
        "select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables"
        " where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')",
    )
    assert {"public.app_users", "public.user_settings", "public.telegram_links", "public.mirror_pending"} <= {
        t["name"] for t in tables
    }
    return "\n".join(str(row) for table in tables for row in fetch(db, f"select t::text from {table['name']} t"))


def clear_all(db: Connection) -> int:
    return int(
        value(
            db,
            """select clear_pending(array_agg(owner), array_agg(kind), array_agg(version), array_agg(erased))
                              from mirror_pending""",
        )
    )


@pytest.mark.parametrize("state", ["live", "deleted", "unlinked"])
def test_nothing_of_a_person_is_left_in_any_table(db: Connection, person: list[str], state: str) -> None:
    if state == "deleted":
        fetch(db, "select from delete_user(%s)", (OKX_UID,))
    elif state == "unlinked":
        fetch(db, "select from unlink_telegram(%s)", (OKX_UID,))
    before = everything(db)
    assert [word for word in person if word not in before] == ([USERNAME] if state == "unlinked" else [])
    receipt = one(db, ERASE, (OKX_UID,))
    assert sorted(receipt["telegram_ids"]) == sorted([TELEGRAM_ID, EARLIER, EARLIEST])
    marked = everything(db)
    assert {word for word in person if word in marked} == {OKX_UID, TELEGRAM_ID, EARLIER, EARLIEST}  # the marks
    clear_all(db)
    after = everything(db)
    assert [word for word in person if word in after] == []
    assert OTHER in after
    assert value(db, "select count(*) from get_user_settings(%s)", (OTHER,)) == 3


def test_nothing_of_a_person_is_in_a_dump(db: Connection, database_url: str, person: list[str]) -> None:
    assert [word for word in person if word not in dump(database_url)] == []
    fetch(db, ERASE, (OKX_UID,))
    clear_all(db)
    left = dump(database_url)
    assert [word for word in person if word in left] == []
    assert OTHER in left


@pytest.mark.parametrize("form", ["OKX UID", "Telegram ID", "UUID"])
def test_a_person_is_erased_by_any_identifier_and_only_once(db: Connection, uid: str, form: str) -> None:
    identifier = {"OKX UID": uid, "Telegram ID": TELEGRAM_ID, "UUID": value(db, "select id::text from app_users")}[form]
    fetch(db, ERASE, (identifier,))
    marks = fetch(db, "select * from mirror_pending order by 1, 2")
    with refused("US004"):
        fetch(db, ERASE, (identifier,))
    assert fetch(db, "select * from mirror_pending order by 1, 2") == marks


def test_an_erasure_leaves_removal_forbidden_in_its_own_transaction(db: Connection, uid: str) -> None:
    fetch(db, REGISTER, (OTHER, None))
    for table in ("user_settings", "app_users", "telegram_links"):
        with refused("US005"), db.transaction():
            fetch(db, ERASE, (uid,))
            fetch(db, f"delete from {table}")


def test_an_erasure_that_is_rolled_back_never_was(db: Connection, uid: str) -> None:
    before = everything(db)
    with db.transaction(force_rollback=True):
        fetch(db, ERASE, (uid,))
    assert everything(db) == before


def test_a_telegram_id_that_went_to_somebody_else_stays_theirs(db: Connection, person: list[str]) -> None:
    fetch(db, "select from link_telegram(%s, %s)", (OTHER, EARLIER))
    receipt = one(db, ERASE, (OKX_UID,))
    assert sorted(receipt["telegram_ids"]) == sorted([TELEGRAM_ID, EARLIEST])
    assert value(db, "select okx_uid from telegram_links where telegram_id = %s", (EARLIER,)) == OTHER
    assert value(db, "select okx_uid from find_user(%s)", (EARLIER,)) == OTHER
    assert value(db, "select erased from mirror_pending where owner = %s", (EARLIER,)) is False


# -- marks


def test_every_key_is_marked_one_above_the_version_that_redis_may_have(db: Connection, person: list[str]) -> None:
    had = {(row["owner"], row["kind"]): row["version"] for row in fetch(db, "select * from mirror_source")}
    fetch(db, ERASE, (OKX_UID,))
    owners = [OKX_UID, TELEGRAM_ID, EARLIER, EARLIEST]
    columns = "owner, kind, suffix, encoding, version, updated_at, document"
    entries = fetch(db, f"select {columns} from pending_keys(%s)", (owners,))
    assert {(e["owner"], e["kind"]): e["version"] for e in entries} == {
        (OKX_UID, "api_keys"): 1,
        (OKX_UID, "dual_side:*"): 1,
        **{key: version + 1 for key, version in had.items() if key[0] in owners},
    }
    assert {(e["kind"], e["suffix"], e["encoding"], e["document"]) for e in entries} == {
        ("params", "settings", "erased", None), ("preferences", "preferences", "erased", None),
        ("dual_side", "dual_side", "erased", None), ("user", "mirror", "erased", None),
        ("telegram", "okx_uid", "erased", None), ("api_keys", "api:keys", "erased", None),
        ("dual_side:*", "symbol:*:dual_side", "erased", None),
    }  # fmt: skip
    assert fetch(db, "select * from mirror_source where owner = any (%s) order by kind, owner", (owners,)) == sorted(
        entries, key=lambda e: (e["kind"], e["owner"])
    )


def test_a_type_that_is_gone_or_came_later_does_not_hide_a_mark(db: Connection, uid: str) -> None:
    fetch(db, "insert into setting_types values ('extra', 'extra', 'json')")
    fetch(db, ERASE, (uid,))
    assert value(db, "select count(*) from pending_keys(array[%s], array['extra'])", (uid,)) == 1


def test_marks_of_an_erasure_and_of_a_save_never_clear_each_other(db: Connection, uid: str) -> None:
    clear = "select clear_pending(array[%s], array['params'], array[%s], array[%s])"
    fetch(db, ERASE, (uid,))
    assert value(db, clear, (uid, 1000, False)) == 0
    fetch(db, REGISTER, (uid, TELEGRAM_ID))
    assert value(db, clear, (uid, 1000, True)) == 0
    assert value(db, clear, (uid, 1, False)) == 1
    fetch(db, SAVE, (uid, "params", '{"n": 1}'))
    fetch(db, ERASE, (uid,))
    assert value(db, clear, (uid, 2, False)) == 0
    assert value(db, clear, (uid, 2, True)) == 0  # of the first erasure, say
    assert value(db, clear, (uid, 3, True)) == 1


def test_a_person_registered_again_starts_from_scratch(db: Connection, person: list[str]) -> None:
    fetch(db, ERASE, (OKX_UID,))
    rows = fetch(db, "select * from register_user(%s, %s)", (OKX_UID, TELEGRAM_ID))
    assert {(row["setting_type"], row["version"]) for row in rows} == {
        ("params", 1),
        ("preferences", 1),
        ("dual_side", 1),
    }
    assert [
        row["settings"] == value(db, "select default_user_setting(%s)", (row["setting_type"],)) for row in rows
    ] == [True] * 3
    assert one(db, "select name, telegram_username, version from app_users where okx_uid = %s", (OKX_UID,)) == {
        "name": None, "telegram_username": None, "version": 1,
    }  # fmt: skip
    entries = fetch(db, "select owner, kind, count(*) from mirror_source group by 1, 2 having count(*) > 1")
    assert entries == []
    marks = {(r["owner"], r["kind"]): (r["version"], r["erased"]) for r in fetch(db, "select * from mirror_pending")}
    assert marks[OKX_UID, "params"] == (1, False)
    assert marks[TELEGRAM_ID, "telegram"] == (1, False)
    assert marks[EARLIER, "telegram"][1] is True


def test_another_user_takes_over_the_freed_telegram_id(db: Connection, uid: str) -> None:
    fetch(db, ERASE, (uid,))
    fetch(db, REGISTER, (OTHER, TELEGRAM_ID))
    (entry,) = fetch(db, "select * from mirror_source where owner = %s", (TELEGRAM_ID,))
    assert (entry["encoding"], entry["version"], entry["document"]) == ("string", 1, OTHER)
    assert value(db, "select erased from mirror_pending where owner = %s", (TELEGRAM_ID,)) is False


# -- what comes from Redis meanwhile


def item(owner: str, version: int = 1) -> str:
    return f'[{{"owner": "{owner}", "kind": "params", "version": {version}, "document": {{"note": "{VALUE}"}}}}]'


IMPORT = "select outcome from import_documents(%s, p_keep_only => %s, p_dry_run => false)"
IMPORT_LINK = "select outcome from import_links(%s, p_dry_run => false)"


@pytest.mark.parametrize("is_kept", [False, True], ids=["sync", "repair"])
def test_an_import_from_redis_under_way_is_erased_with_the_person(
    db: Connection, session: Open, uid: str, is_kept: bool
) -> None:
    importer, eraser = session(), session()
    importer.run("begin")
    importer.run(IMPORT, (item(uid, 2), is_kept))
    erased = eraser.run_blocked(ERASE, (uid,))
    importer.run("commit")
    assert erased.result(DEADLINE)[0]["versions"] > 5
    clear_all(db)
    assert VALUE not in everything(db)


@pytest.mark.parametrize("is_kept", [False, True], ids=["sync", "repair"])
def test_an_import_from_redis_that_waits_for_an_erasure_brings_nothing_back(
    db: Connection, session: Open, uid: str, is_kept: bool
) -> None:
    importer, eraser = session(), session()
    eraser.run("begin")
    eraser.run(ERASE, (uid,))
    documents = importer.run_blocked(IMPORT, (item(uid, 2), is_kept))
    eraser.run("commit")
    assert documents.result(DEADLINE) == [{"outcome": "deleted"}]
    link = f'[{{"owner": "{TELEGRAM_ID}", "version": 1, "okx_uid": "{uid}"}}]'
    assert fetch(db, IMPORT_LINK, (link,)) == [{"outcome": "deleted"}]
    assert value(db, "select count(*) from app_users") == 0
    assert VALUE not in everything(db)


def test_a_link_import_that_waits_for_an_erasure_brings_nothing_back(db: Connection, session: Open, uid: str) -> None:
    importer, eraser = session(), session()
    eraser.run("begin")
    eraser.run(ERASE, (uid,))
    link = f'[{{"owner": "77777", "version": 0, "okx_uid": "{uid}"}}]'
    linked = importer.run_blocked(IMPORT_LINK, (link,))
    eraser.run("commit")
    assert linked.result(DEADLINE) == [{"outcome": "deleted"}]
    assert value(db, "select count(*) from app_users") == 0
