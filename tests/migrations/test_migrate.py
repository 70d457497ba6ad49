"""migrate and rollback: repeatable, concurrent, and unharmed by a broken file or a kill."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store.errors import DatabaseUnavailable, MigrationError
from store.postgres import migrate, sources
from tests.conftest import OKX_UID
from tests.migrations.dump import OUR_FUNCTIONS, dump

pytestmark = pytest.mark.slow

DEADLINE = 30.0  # seconds
IDS = sorted(f.stem for f in sources.resources("migrations").glob("*.sql") if not f.stem.endswith(".rollback"))
MIGRATE = "import sys; from store.postgres import migrate; print(*migrate.migrate(sys.argv[1]))"
TABLES = "select relname from pg_class where relkind in ('r', 'v') and relnamespace = 'public'::regnamespace"


def query(url: str, statement: str, *parameters: Any) -> list[Any]:
    """Run a statement in a transaction of its own; return the first column."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement.encode(), parameters or None)
        return [row[0] for row in cursor] if cursor.description else []


def save(url: str) -> int:
    """Save a document, by which most functions and triggers are used; return the version."""
    query(url, "select okx_uid from ensure_user(%s)", OKX_UID)
    call = "select version from upsert_user_setting(%s, 'params', jsonb_build_object('n', random()))"
    version: int = query(url, call, OKX_UID)[0]
    return version


def await_(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def sql_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of sql/ that migrate uses, to be edited."""
    original = sources.resources
    shutil.copytree(original("sql"), tmp_path / "sql")
    monkeypatch.setattr(sources, "resources", lambda name: tmp_path / "sql" if name == "sql" else original(name))
    return tmp_path / "sql"


def test_an_empty_database_is_brought_to_this_release(empty_database_url: str) -> None:
    before = migrate.status(empty_database_url)
    assert (before.applied, before.pending, before.is_current) == ([], IDS, False)
    assert migrate.migrate(empty_database_url) == IDS
    after = migrate.status(empty_database_url)
    assert (after.applied, after.pending, after.drifted, after.is_current) == (IDS, [], {}, True)
    assert save(empty_database_url) == 1


def test_migrating_again_changes_nothing(database_url: str) -> None:
    save(database_url)
    before = dump(database_url)
    assert migrate.migrate(database_url) == []
    assert dump(database_url) == before
    assert save(database_url) == 2
    assert migrate.status(database_url).is_current


def test_threads_that_migrate_at_once_all_succeed(empty_database_url: str) -> None:
    barrier = threading.Barrier(4)

    def migrated(_: int) -> list[str]:
        barrier.wait(DEADLINE)
        return migrate.migrate(empty_database_url)

    with ThreadPoolExecutor(4) as pool:
        applied = sorted(pool.map(migrated, range(4)))
    assert applied == [[], [], [], IDS]
    assert migrate.status(empty_database_url).is_current


def test_processes_that_migrate_at_once_all_succeed(empty_database_url: str) -> None:
    command = [sys.executable, "-c", MIGRATE, empty_database_url]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in running]
    assert sorted(ended) == [("\n", "", 0), (" ".join(IDS) + "\n", "", 0)]
    assert save(empty_database_url) == 1


def test_a_lock_that_somebody_took_by_its_number_is_not_waited_for_without_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_WAIT", 0.1)
    with psycopg.connect(database_url, application_name="mallory's") as holder:
        holder.execute("select pg_advisory_lock(%s)", (migrate.LOCK,))
        with pytest.raises(MigrationError, match="another session holds the lock") as error:
            migrate.migrate(database_url)
        told = f"process {holder.info.backend_pid}, mallory's, login {holder.info.user}, since "
        assert (error.value.detail or "").startswith(told)
        holder.execute("select pg_advisory_unlock_all()")
        assert migrate.migrate(database_url) == []


def test_an_edited_file_of_sql_is_told_and_applied(database_url: str, sql_folder: Path) -> None:
    file = sql_folder / "settings" / "_merge_patch.sql"
    file.write_text(file.read_text().replace("return v_target;", "return v_target || '{\"edited\": true}';"))
    assert migrate.status(database_url).drifted == {
        "settings/_merge_patch.sql": "the file changed since it was applied",
    }
    assert migrate.migrate(database_url) == []
    assert query(database_url, "select _merge_patch('{}', '{}')") == [{"edited": True}]
    assert migrate.status(database_url).is_current


@pytest.mark.parametrize(
    ("statement", "file"),
    [
        (
            "create or replace function _merge_patch(p_target jsonb, p_patch jsonb) returns jsonb"
            " language sql immutable as 'select ''{}''::jsonb'",
            "settings/_merge_patch.sql",
        ),
        ("drop function _merge_patch(jsonb, jsonb)", "settings/_merge_patch.sql"),
        ("drop trigger user_settings_changed_insert on user_settings", "settings/user_settings_changed.trigger.sql"),
        ("drop trigger user_settings_version_update on user_settings", "settings/user_settings_version.trigger.sql"),
        ("alter table app_users disable trigger app_users_version", "users/app_users_version.trigger.sql"),
        ("alter function find_user(text) reset search_path", "users/find_user.sql"),
        ("grant execute on function delete_user(text) to settings_reader", "access/grants.sql"),
        ("revoke execute on function delete_user(text) from settings_writer", "access/grants.sql"),
        ("grant select on app_users to settings_reader", "access/grants.sql"),
        ("drop policy confinement on app_users", "access/policies.sql"),
        ("alter policy confinement on app_users using (true)", "access/policies.sql"),
        ("alter table app_users disable row level security", "access/policies.sql"),
    ],
    ids=[
        *("replaced", "dropped", "trigger dropped", "one of two triggers dropped", "trigger disabled", "search_path"),
        *("function granted", "function revoked", "table granted"),
        *("policy dropped", "policy altered", "row security disabled"),
    ],
)
def test_a_change_by_hand_is_told_and_mended(database_url: str, statement: str, file: str) -> None:
    before = dump(database_url)
    query(database_url, statement)
    drifted = migrate.status(database_url).drifted
    assert drifted.pop(file) == "changed in the database since it was applied"
    assert set(drifted) <= {"access/grants.sql"}  # those of a function go with it
    migrate.migrate(database_url)
    assert migrate.status(database_url).is_current
    assert dump(database_url) == before


@pytest.mark.parametrize("file", ["users/find_user.sql", "history/no_removal.trigger.sql"])
@pytest.mark.parametrize(
    "said", ["", "select _allow('find_users', 'admin');", "select _allow('delete_user', 'admin');"]
)
def test_a_function_whose_file_forgets_its_rights_is_refused(
    database_url: str, sql_folder: Path, file: str, said: str
) -> None:
    text = (sql_folder / file).read_text()
    (sql_folder / file).write_text(re.sub(r"^select _allow.*", said, text, flags=re.MULTILINE))
    with pytest.raises(MigrationError, match=rf"sql/{file}.*(who may call it|no such function)"):
        migrate.migrate(database_url)


def test_a_file_that_is_no_longer_part_is_told(database_url: str, sql_folder: Path) -> None:
    (sql_folder / "settings" / "_merge_patch.sql").unlink()
    assert migrate.status(database_url).drifted == {"_merge_patch": "applied once, no longer part of this release"}


@pytest.mark.parametrize("broken", ["create or replace function broken(", "select 1 / 0;"])
def test_a_broken_file_is_named_and_harms_nothing(database_url: str, sql_folder: Path, broken: str) -> None:
    before = dump(database_url)
    (sql_folder / "settings" / "_merge_patch.sql").write_text("comment on table app_users is 'changed';\n" + broken)
    with pytest.raises(MigrationError, match=r"sql/settings/_merge_patch\.sql: "):
        migrate.migrate(database_url)
    assert dump(database_url) == before
    assert save(database_url) == 1


def test_a_file_that_makes_no_object_of_its_name_is_named(database_url: str, sql_folder: Path) -> None:
    (sql_folder / "settings" / "misnamed.sql").write_text("select 1;")
    with pytest.raises(MigrationError, match="misnamed"):
        migrate.migrate(database_url)
    assert save(database_url) == 1


def test_rolling_back_everything_leaves_nothing_of_ours(database_url: str) -> None:
    save(database_url)
    assert migrate.rollback(database_url, None) == IDS[::-1]
    assert [name for name in query(database_url, TABLES) if "yoyo" not in name] == []
    functions = f"select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {OUR_FUNCTIONS}"
    assert query(database_url, functions) == []
    assert migrate.status(database_url).pending == IDS
    assert migrate.rollback(database_url, None) == []
    assert migrate.migrate(database_url) == IDS
    assert save(database_url) == 1


def test_rolling_back_goes_one_by_one_and_keeps_the_data_of_the_rest(database_url: str) -> None:
    save(database_url)
    assert migrate.rollback(database_url) == IDS[-1:]
    assert migrate.status(database_url).pending == IDS[-1:]
    assert query(database_url, "select okx_uid from app_users") == [OKX_UID]
    assert migrate.migrate(database_url) == IDS[-1:]
    assert save(database_url) == 2
    assert migrate.status(database_url).is_current


def test_versions_saved_before_the_store_noted_logins_have_none(database_url: str) -> None:
    """A downgrade takes the logins, and what is there when the columns come is null."""
    save(database_url)
    while "0018_rights" in migrate.status(database_url).applied:
        migrate.rollback(database_url)
    migrate.migrate(database_url)
    save(database_url)
    history = "select written_by from user_setting_history(%s, 'params')"
    assert query(database_url, history, OKX_UID) == [*query(database_url, "select session_user::text"), None]
    assert migrate.status(database_url).is_current


def test_integers_saved_with_decimal_places_become_a_version_without_them(database_url: str) -> None:
    save(database_url)
    while "0022_integers" in migrate.status(database_url).applied:
        migrate.rollback(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("alter table user_settings disable trigger user")
        given = '{"leverage": 4.0, "cooldown_time": 3.00, "tp1_value": 2.0, "x": 1.0}'
        connection.execute("update user_settings set settings = %s", (given,))
        connection.execute("alter table user_settings enable trigger user")
    migrate.migrate(database_url)
    versions = "select settings::text from user_settings where okx_uid = %s order by version"
    assert query(database_url, versions, OKX_UID) == [
        '{"x": 1.0, "leverage": 4.0, "tp1_value": 2.0, "cooldown_time": 3.00}',
        '{"x": 1.0, "leverage": 4, "tp1_value": 2.0, "cooldown_time": 3}',
    ]
    assert query(database_url, "select version from mirror_pending where owner = %s and kind = 'params'", OKX_UID) == [
        2
    ]
    assert save(database_url) == 3
    assert migrate.status(database_url).is_current


def test_weeks_are_computed_where_an_aggregate_kept_them(database_url: str) -> None:
    """As a materialized view of PostgreSQL's own, which is stale as TimescaleDB's is, and dropped in the same way."""
    day = """
        insert into ohlcv_1d select %s::timestamptz + n * interval '1 day', 'S', 1, 1, 1, 1, 1
          from generate_series(0, 6) n"""
    week = "select concat_ws(' ', ts at time zone 'UTC', volume, complete) from get_candles('S', '1w')"
    query(database_url, day, "2026-01-05Z")
    while "0023_weeks" in migrate.status(database_url).applied:
        migrate.rollback(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("drop view if exists ohlcv_1w")
        connection.execute("create materialized view ohlcv_1w_aggregate as select * from ohlcv_1d with no data")
        connection.execute("create view ohlcv_1w as table ohlcv_1w_aggregate")
    migrate.migrate(database_url)
    assert query(database_url, week) == ["2026-01-05 00:00:00 7 t"]
    assert query(database_url, "select to_regclass('ohlcv_1w_aggregate')::text") == [None]
    assert migrate.status(database_url).is_current


@pytest.mark.parametrize("applied", [1, len(IDS)], ids=["in a migration", "in sql/"])
def test_a_killed_migrate_leaves_a_database_that_migrates_at_once(database_url: str, applied: int) -> None:
    expected = dump(database_url)
    migrate.rollback(database_url, len(IDS) - applied)
    waiting = "select count(*) from pg_locks where relation = 'app_users'::regclass and not granted"
    with psycopg.connect(database_url) as holder:
        holder.execute("lock table app_users in access exclusive mode")
        process = subprocess.Popen([sys.executable, "-c", MIGRATE, database_url])
        await_(lambda: query(database_url, waiting) == [1], "migrate doesn't wait for the table")
        process.kill()
        process.wait(DEADLINE)
    assert migrate.migrate(database_url) == IDS[applied:]
    assert dump(database_url) == expected
    assert migrate.status(database_url).is_current


def test_an_unreachable_database_is_told() -> None:
    url = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=5"
    for action in (migrate.migrate, migrate.rollback, migrate.status):
        with pytest.raises(DatabaseUnavailable):
            action(url)


def test_documents_of_symbols_and_presets_outlive_a_rollback(empty_database_url: str) -> None:
    migrate.migrate(empty_database_url)
    query(empty_database_url, "select okx_uid from register_user(%s)", OKX_UID)
    save = "select version from upsert_user_setting(%s, 'dual_side', '{\"x\": 1}', p_symbol => 'BTC-USDT')"
    query(empty_database_url, save, OKX_UID)
    for name in ("night", "n" * 64):
        query(empty_database_url, f"select name from save_setting_template('{name}', 'params', '{{}}', %s)", OKX_UID)
    while "0021_symbols" in migrate.status(empty_database_url).applied:
        migrate.rollback(empty_database_url)
    names = sorted(query(empty_database_url, "select name from setting_templates"))
    assert [name.partition("@")[2] for name in names] == [OKX_UID] * 2
    assert f"night@{OKX_UID}" in names
    assert query(empty_database_url, "select count(*) from mirror_pending where kind like '%:%'") == [0]
    migrate.migrate(empty_database_url)
    found = "select settings ->> 'x' from get_user_settings(%s, 'dual_side', 'BTC-USDT')"
    assert query(empty_database_url, found, OKX_UID) == ["1"]
