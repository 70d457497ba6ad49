"""The feed: every committed change once, in an order in which a reader can go on, whoever commits late."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable

import pytest

from store.operations import embedded
from store.postgres import migrate
from tests.conftest import Rows
from tests.helpers.sessions import Connection, Session, fetch, one, refused, value

OTHER_UID = "1000000000000001"
PAGE = "select * from changes_after(%s, %s)"
HELD = "select * from changes_held()"
SAVE = "select version from upsert_user_setting(%s, %s, jsonb_build_object('n', %s::integer))"


def feed(db: Connection, cursor: str | None = None, size: int = 1000) -> Rows:
    """All that comes behind a cursor, page by page."""
    found: Rows = []
    while page := fetch(db, PAGE, (cursor, size)):
        found += page
        cursor = page[-1]["cursor"]
    return found


def names(rows: Rows) -> list[tuple[str, str, int]]:
    return [(row["okx_uid"], row["setting_type"], row["version"]) for row in rows]


def versions(db: Connection) -> list[tuple[str, str, int]]:
    return names(fetch(db, "select * from user_settings order by user_id, setting_type, version"))


@pytest.fixture
def two(db: Connection, bare_uid: str) -> tuple[str, str]:
    """The OKX UIDs of two users without any document."""
    fetch(db, "select from ensure_user(%s)", (OTHER_UID,))
    return bare_uid, OTHER_UID


# ------------------------------------------------------------------------------------------------- what is a change


def test_every_version_is_a_change_whichever_way_it_came(db: Connection, uid: str) -> None:
    fetch(
        db, "select set_config('settings_store.actor', 'kim', false), set_config('settings_store.reason', 'why', false)"
    )
    fetch(
        db,
        'select from patch_user_setting(%s, \'params\', \'{"signal_bot_token": "hunter2", "leverage": 20}\')',
        (uid,),
    )
    fetch(db, "select from delete_user_setting(%s, 'preferences')", (uid,))
    fetch(db, "select from restore_user_setting(%s, 'preferences')", (uid,))
    fetch(
        db,
        "select from upsert_user_setting(%s, 'dual_side', '{\"use_dual_side\": true}', p_symbol => 'BTC-USDT-SWAP')",
        (uid,),
    )
    fetch(
        db, "update user_settings set settings = settings || '{\"x\": 1}' where setting_type = 'params' and is_active"
    )
    fetch(
        db,
        "select _keep_losing_document(id, '{\"y\": 1}') from user_settings where setting_type = 'params' and is_active",
    )
    found = feed(db)
    assert sorted(names(found)) == sorted(versions(db))
    assert [name for name in names(found) if name[1] == "params"] == [(uid, "params", n) for n in range(1, 6)]
    history = fetch(db, "select * from user_setting_history(%s)", (uid,))
    key = ("setting_type", "version")
    assert sorted(({**row, "cursor": ""} for row in history), key=lambda row: [row[name] for name in key]) == sorted(
        ({**row, "cursor": ""} for row in found), key=lambda row: [row[name] for name in key]
    )
    assert [row["version"] for row in found if row["is_deleted"]] == [2]
    assert "hunter2" not in str(found)
    assert feed(db, size=1) == found
    assert feed(db, found[4]["cursor"], 2) == found[5:]
    assert feed(db, "") == found


def test_a_save_of_the_same_and_a_change_of_the_link_are_no_change(db: Connection, uid: str) -> None:
    (*_, last) = feed(db)
    fetch(
        db,
        "select from save_user_settings(%s, (select jsonb_object_agg(setting_type, settings) from user_settings))",
        (uid,),
    )
    fetch(db, "select from link_telegram(%s, '22222')", (uid,))
    fetch(db, "update user_settings set saved_in = '5', telegram_id = telegram_id")
    assert feed(db, last["cursor"]) == []


# --------------------------------------------------------------------------------------------------- late commits


def test_who_commits_late_is_not_left_out(db: Connection, two: tuple[str, str], session: Callable[[], Session]) -> None:
    early, late = two
    writer = session()
    writer.run("begin")
    writer.run(SAVE, (late, "params", 1))
    fetch(db, SAVE, (early, "params", 1))
    assert feed(db) == []
    held = one(db, HELD)
    assert held["process"] == writer.connection.info.backend_pid
    assert held["waited"].total_seconds() > 0
    writer.run("savepoint a")
    writer.run(SAVE, (late, "params", 2))
    writer.run("rollback to savepoint a")
    writer.run(SAVE, (late, "params", 3))
    writer.run("commit")
    found = feed(db)
    assert names(found) == [(late, "params", 1), (late, "params", 2), (early, "params", 1)]
    assert found[1]["changes"] == [{"key": "n", "change": "changed", "old": 1, "new": 3}]
    assert fetch(db, HELD) == []


def test_what_came_before_an_open_transaction_is_not_held(
    db: Connection, two: tuple[str, str], session: Callable[[], Session]
) -> None:
    writer = session()
    fetch(db, SAVE, (two[0], "params", 1))
    writer.run("begin")
    writer.run(SAVE, (two[1], "params", 1))
    (first,) = feed(db)
    assert fetch(db, HELD) == []
    writer.run("rollback")
    fetch(db, SAVE, (two[1], "params", 1))
    assert names(feed(db, first["cursor"])) == [(two[1], "params", 1)]


def test_who_only_reads_holds_nothing(db: Connection, two: tuple[str, str], session: Callable[[], Session]) -> None:
    reader = session()
    reader.run("begin isolation level repeatable read")
    reader.run("select count(*) from user_settings")
    fetch(db, SAVE, (two[0], "params", 1))
    assert len(feed(db)) == 1
    assert reader.run(PAGE, (None, 10)) == []


def test_what_is_not_committed_is_not_read_not_even_by_its_writer(db: Connection, two: tuple[str, str]) -> None:
    fetch(db, SAVE, (two[0], "params", 1))
    for level in ("read committed", "repeatable read"):
        with db.transaction():
            fetch(db, f"set transaction isolation level {level}")
            before = feed(db)
            fetch(db, SAVE, (two[1], "params", value(db, "select count(*) from user_settings")))
            assert feed(db) == before
            assert fetch(db, HELD) == []
    assert len(feed(db)) == len(before) + 1


@pytest.mark.parametrize("seed", range(3))
def test_a_reader_amid_transactions_in_any_order_gets_each_change_once(
    db: Connection, two: tuple[str, str], connect: Callable[[], Connection], seed: int
) -> None:
    chance = random.Random(seed)
    documents = [(uid, kind) for uid in two for kind in ("params", "preferences", "dual_side")]
    held: dict[Connection, set[tuple[str, str]]] = {connect(): set() for _ in range(4)}
    found: Rows = []
    for step in range(300):
        writer = chance.choice(list(held))
        if chance.random() < 0.3:
            found += fetch(db, PAGE, (found[-1]["cursor"] if found else None, chance.choice((1, 3, 100))))
        elif held[writer] and chance.random() < 0.5:
            fetch(writer, chance.choice(("commit", "commit", "rollback")))
            held[writer].clear()
        elif free := [name for name in documents if not any(name in held[other] for other in held if other != writer)]:
            fetch(writer, "begin" if not held[writer] else "savepoint a")
            held[writer].add(chance.choice(free))
            for uid, kind in held[writer]:
                fetch(writer, SAVE, (uid, kind, step))
    for writer in held:
        fetch(writer, "commit")
    found += feed(db, found[-1]["cursor"], 3)
    assert sorted(names(found)) == sorted(versions(db))
    assert len(found) > 50
    for document in documents:
        of_one = [version for *name, version in names(found) if tuple(name) == document]
        assert of_one == list(range(1, len(of_one) + 1))


# ---------------------------------------------------------------------------------------------------- the cursor


def test_nonsense_is_no_cursor(db: Connection) -> None:
    nonsense = ["nonsense", "0", "a.b.c", "' or true --", "é" * 300]
    parts = ["1.1.{}.0.params", "-1.1.{}.1.params", "1.1e3.{}.1.params", "1.nan.{}.1.params", "1.1.{}.1."]
    parts += ["99999999999999999999.1.{}.1.params", "1.1.{}.99999999999.params"]
    for cursor in [*nonsense, *(f"{'0' * 12}.{part}".format("0" * 32) for part in parts)]:
        with refused("US010") as error:
            fetch(db, PAGE, (cursor, 1))
        assert "not a cursor" in str(error.value)


def test_a_page_is_bounded(db: Connection) -> None:
    for size in (0, -1, 10001, None):
        with refused("US010"):
            fetch(db, PAGE, (None, size))


def test_a_cursor_from_elsewhere_or_from_later_is_refused(db: Connection, uid: str) -> None:
    first = feed(db)[0]["cursor"]
    state, number, rest = first.split(".", 2)
    for cursor in (f"0123456789ab.{number}.{rest}", f"{state}.{2**40}.{rest}"):
        with refused("US010") as error:
            feed(db, cursor)
        assert "another state" in str(error.value)
    for at in ("infinity", "-infinity", "0", "-99999999999999999", "999999999999999999"):
        feed(db, f"{state}.{number}.{at}.{'f' * 32}.1.x")  # of no change there is: no error


def test_the_text_of_a_cursor_does_not_depend_on_the_session(db: Connection, uid: str) -> None:
    found = feed(db)
    fetch(db, "set timezone = 'Asia/Kolkata'; set datestyle = 'SQL, DMY'; set extra_float_digits = -15")
    cursors = "select cursor from changes_after(%s)"
    assert fetch(db, cursors, (None,)) == [{"cursor": row["cursor"]} for row in found]
    assert fetch(db, cursors, (found[1]["cursor"],)) == [{"cursor": row["cursor"]} for row in found[2:]]


def test_a_reader_may_begin_at_a_moment(db: Connection, uid: str) -> None:
    found = feed(db)
    since = "select * from changes_after(changes_since(%s))"
    assert fetch(db, since, (found[2]["saved_at"],)) == found[2:]
    assert fetch(db, since, ("-infinity",)) == fetch(db, since, ("4713-01-01 BC",)) == found
    assert fetch(db, since, (None,)) == fetch(db, since, ("infinity",)) == []
    begun = value(db, "select changes_since(now())")
    assert feed(db, begun) == []
    fetch(db, SAVE, (uid, "params", 1))
    assert names(feed(db, begun)) == [(uid, "params", 2)]


def test_a_reader_that_begins_at_a_moment_gets_what_is_committed_late(
    db: Connection, two: tuple[str, str], session: Callable[[], Session]
) -> None:
    writer = session()
    writer.run("begin")
    writer.run("select pg_current_xact_id()")
    fetch(db, SAVE, (two[0], "params", 1))
    moment = value(db, "select clock_timestamp()")
    for begun in (value(db, "select changes_since(%s)", (moment,)), value(db, "select changes_since('infinity')")):
        assert feed(db, begun) == []
    writer.run(SAVE, (two[1], "params", 1))
    writer.run("commit")
    assert names(feed(db, value(db, "select changes_since(%s)", (moment,))))[0] == (two[1], "params", 1)
    assert (two[1], "params", 1) in names(feed(db, begun))


def test_a_page_ends_where_it_gets_large(db: Connection, two: tuple[str, str]) -> None:
    for n in range(6):
        fetch(
            db,
            "select from upsert_user_setting(%s, 'params', jsonb_build_object('x', repeat(%s, 1000000)))",
            (two[0], str(n)),
        )
    fetch(db, "set work_mem = '64kB'")
    page = fetch(db, PAGE, (None, 1000))
    assert 0 < len(page) < 6
    assert [row["version"] for row in feed(db)] == list(range(1, 7))


# ------------------------------------------------------------------------------------------ what was, and what goes


def hand(db: Connection, statement: str) -> None:
    """Change rows as no writer can, as if they had come so."""
    fetch(
        db,
        f"alter table user_settings disable trigger user; {statement}; alter table user_settings enable trigger user",
    )


def test_what_was_saved_before_comes_first_by_its_time(db: Connection, uid: str) -> None:
    for n in range(3):
        fetch(db, SAVE, (uid, "params", n))
    hand(
        db,
        "update user_settings set saved_in = '0', updated_at = '2025-11-30Z'::timestamptz + version * interval '1 s'",
    )
    fetch(db, SAVE, (uid, "dual_side", 1))
    found = feed(db)
    assert [row["saved_at"] for row in found] == sorted(row["saved_at"] for row in found)
    assert sorted(names(found)) == sorted(versions(db))
    assert names(found)[-1] == (uid, "dual_side", 2)
    for size in (1, 2):  # three documents of one moment
        assert feed(db, size=size) == found
    hand(db, "update user_settings set updated_at = '-infinity' where version = 1")
    first = value(db, "select cursor from changes_after(null, 1)")
    assert ".-infinity." in first
    assert len(fetch(db, "select cursor from changes_after(%s)", (first,))) == len(found) - 1


def test_pruned_versions_are_gone_and_the_reader_goes_on(db: Connection, uid: str) -> None:
    for n in range(4):
        fetch(db, SAVE, (uid, "params", n))
    found = feed(db)
    old = next(row for row in found if row["version"] == 2)
    fetch(db, "select from prune_user_settings(2, '0 days')")
    left = [row for row in feed(db, old["cursor"]) if row["setting_type"] == "params"]
    assert [(row["version"], row["changes"] is None) for row in left] == [(4, True), (5, False)]


def test_an_erased_person_is_gone_and_the_reader_goes_on(db: Connection, two: tuple[str, str]) -> None:
    for n in range(2):
        for uid in two:
            fetch(db, SAVE, (uid, "params", n))
    found = feed(db)
    fetch(db, "select from erase_user(%s)", (two[0],))
    assert names(feed(db)) == [(two[1], "params", 1), (two[1], "params", 2)]
    assert names(feed(db, found[0]["cursor"])) == [(two[1], "params", 1), (two[1], "params", 2)]


def test_after_a_restore_a_cursor_of_before_is_refused(db: Connection, uid: str) -> None:
    found = feed(db)
    columns = "id, user_id, okx_uid, setting_type, settings, version, is_active, updated_at, changed_by"
    with db.transaction():
        fetch(db, f"create temporary table kept as select {columns} from user_settings")
        fetch(db, "create temporary table people as table app_users")
        fetch(db, "create temporary table kinds as table setting_types")
        fetch(db, "select begin_restore(true)")
        fetch(db, "insert into setting_types table kinds; insert into app_users table people")
        fetch(db, f"insert into user_settings ({columns}) table kept")
        fetch(db, "select end_restore()")
    with refused("US010") as error:
        feed(db, found[0]["cursor"])
    assert "another state" in str(error.value)
    assert names(feed(db, size=2)) == names(found)


def test_after_a_dump_was_put_back_in_place_a_cursor_of_before_is_refused(
    db: Connection, uid: str, database_url: str, connect: Callable[[], Connection]
) -> None:
    found = feed(db)
    programs = embedded.wheel_programs()
    pg_dump, pg_restore = (
        str(path) if path.exists() else path.name for path in (programs / "pg_dump", programs / "pg_restore")
    )
    dump = subprocess.run([pg_dump, "--format=custom", database_url], capture_output=True, check=True).stdout
    fetch(db, SAVE, (uid, "params", 1))
    (*_, last) = feed(db)
    restore = [pg_restore, "--clean", "--if-exists", "--dbname", database_url]
    subprocess.run(restore, input=dump, capture_output=True, check=False)  # an older server lacks a setting: code 1
    db = connect()  # the plans of an open session are of tables that are gone
    with refused("US010"):
        feed(db, last["cursor"])
    assert names(feed(db)) == names(found)


def test_what_was_copied_from_another_server_gets_an_order_by_migrate(
    db: Connection, uid: str, database_url: str
) -> None:
    fetch(db, SAVE, (uid, "params", 1))
    found = feed(db)
    hand(db, f"update user_settings set saved_in = (case version when 1 then '4' else '{2**50}' end)::xid8")
    with refused("US010") as error:
        feed(db)
    assert "migrate" in str(error.value.diag.message_hint)
    fetch(db, SAVE, (uid, "preferences", 1))
    migrate.migrate(database_url)
    assert names(feed(db)) == [*names(found), (uid, "preferences", 2)]
    with refused("US010"):
        feed(db, found[0]["cursor"])
    before = feed(db)
    fetch(db, "select arrange_changes()")
    assert feed(db) == before


def test_the_probe_is_no_change(db: Connection) -> None:
    fetch(db, "select from write_probe('params', 'x')")
    assert value(db, "select count(*) from user_settings") > 0
    assert feed(db) == []
    assert fetch(db, HELD) == []


def test_a_confined_session_gets_its_users_changes(
    db: Connection, two: tuple[str, str], session: Callable[[], Session]
) -> None:
    for n in range(2):
        for uid in two:
            fetch(db, SAVE, (uid, "params", n))
    everything = feed(db)
    fetch(db, "select set_config('settings_store.okx_uid', %s, false)", (two[0],))
    assert feed(db, size=1) == [row for row in everything if row["okx_uid"] == two[0]]
    assert names(feed(db, everything[1]["cursor"])) == [(two[0], "params", 2)]
    writer = session()
    writer.run("begin")
    writer.run("select pg_current_xact_id()")
    writer.run(SAVE, (two[1], "params", 7))
    other = session()
    other.run(SAVE, (two[1], "preferences", 7))
    assert fetch(db, HELD) == []
    fetch(db, "set settings_store.okx_uid = '9999999999999999'")
    assert feed(db) == []
