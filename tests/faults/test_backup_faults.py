"""Backup and restore amid writers, kills and outages: all or nothing, and nobody is locked out for good."""

from __future__ import annotations

import asyncio
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from store import Config, SettingsStore
from store.coherence import relay
from store.coherence.verify import verify
from store.errors import NotEmpty
from store.files.backup import restore_backup
from tests.cli.conftest import CHECKOUT, environment
from tests.conftest import OKX_UID
from tests.faults.servers import RedisServer, eventually, wait_until
from tests.helpers.backups import OTHER_UID, Db, back_up, content, on, table_rows

pytestmark = pytest.mark.slow

Connect = Callable[[], Db]
GATE = 4711
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


@pytest.fixture
async def made(store: SettingsStore, tmp_path: Path) -> Path:
    """A backup of the store, which has a newer version by now."""
    await store._connections.marks.clear()
    await back_up(store, tmp_path / "b.zip")
    await store.patch(OKX_UID, "params", {"leverage": 77})
    await store._connections.marks.clear()
    return tmp_path / "b.zip"


@contextmanager
def gate(db: Db, connect: Connect) -> Iterator[Callable[[], None]]:
    """Stop a restore amid the rows of the last but one table, until the function given is called."""
    db.execute(
        f"alter table user_settings add check (pg_advisory_xact_lock_shared({GATE})::text is not null) not valid"
    )
    keeper = connect()
    keeper.execute("select pg_advisory_lock(%s)", (GATE,))

    def let_on() -> None:
        keeper.execute("select pg_advisory_unlock_all()")

    yield let_on


def waiting(db: Db) -> int:
    return int(table_rows(db, WAITING)[0][0])


async def until_waiting(db: Db, count: int) -> None:
    async def is_so() -> bool:
        return waiting(db) == count

    await eventually(is_so)


@contextmanager
def start(config: Config, *arguments: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "cli", *arguments]
    with subprocess.Popen(
        command, env=environment(config) | env, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def locks(db: Db) -> list[tuple[Any, ...]]:
    return table_rows(
        db,
        "select l.relation::regclass::text from pg_locks l join pg_class c on c.oid = l.relation"
        " where l.pid <> pg_backend_pid() and c.relnamespace = 'public'::regnamespace",
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=["kill", "term", "int"])
async def test_a_restore_that_is_ended_leaves_everything_as_it_was(
    made: Path, store: SettingsStore, config: Config, db: Db, connect: Connect, number: signal.Signals
) -> None:
    with gate(db, connect) as let_on:
        before = content(db)
        with start(config, "restore-backup", str(made), "--replace", "--yes") as command:
            await until_waiting(db, 1)
            command.send_signal(number)
            if number == signal.SIGKILL:
                let_on()
            _, shown = command.communicate(timeout=30)
        let_on()
    assert command.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert b"Traceback" not in shown

    def has_let_go() -> bool:
        return locks(db) == []

    wait_until(has_let_go)
    assert content(db) == before
    assert table_rows(db, "select from pg_trigger where tgenabled <> 'O'") == []
    assert (await store.patch(OKX_UID, "params", {"leverage": 5})).version == 3
    await restore_backup(store, made, replace=True)
    assert not (await verify(store._connections)).findings


async def test_a_restore_that_is_ended_when_postgresql_has_it_says_so(
    made: Path, store: SettingsStore, config: Config, db: Db, own_redis: RedisServer
) -> None:
    own_redis.pause()
    with start(config, "restore-backup", str(made), "--replace", "--yes", REDIS_TIMEOUT="60") as command:
        await eventually(lambda: is_restored(db))
        command.send_signal(signal.SIGINT)
        _, shown = command.communicate(timeout=30)
    own_redis.resume()
    assert command.returncode == 130
    assert b"restored in PostgreSQL, but not brought to Redis: settings-store relay --once" in shown
    await relay.Relay(store._connections).once()
    assert not (await verify(store._connections)).findings


async def is_restored(db: Db) -> bool:
    return table_rows(db, "select version from user_settings where is_active and setting_type = 'params'") == [(1,)]


async def test_a_backup_that_is_killed_leaves_no_file_of_its_name(
    store: SettingsStore, config: Config, db: Db, connect: Connect, tmp_path: Path
) -> None:
    keeper = connect()
    for number in (signal.SIGTERM, signal.SIGKILL):
        keeper.execute("begin; lock table setting_templates in access exclusive mode")
        with start(config, "backup", str(tmp_path / "b.zip")) as command:
            await until_waiting(db, 1)
            assert not (tmp_path / "b.zip").exists()
            (partly,) = tmp_path.iterdir()
            assert stat.S_IMODE(partly.stat().st_mode) == 0o600
            command.send_signal(number)
            if number == signal.SIGKILL:
                command.wait(30)
                keeper.execute("commit")
            command.communicate(timeout=30)
        keeper.execute("rollback")
        assert [file.name.startswith(".b.zip.") for file in tmp_path.iterdir()] == [True] * (number == signal.SIGKILL)
    wait_until(lambda: locks(db) == [])
    with start(config, "backup", str(tmp_path / "b.zip")) as command:
        assert command.wait(30) == 0


async def test_a_backup_that_does_not_fit_on_the_disk_leaves_nothing(config: Config, db: Db, tmp_path: Path) -> None:
    command = ["bash", "-c", f"ulimit -f 1; exec {sys.executable} -m cli backup {tmp_path / 'b.zip'}"]
    db.execute("select save_setting_template('t' || n, 'params', jsonb_build_object('?n', md5(random()::text)))"
               " from generate_series(1, 500) n")  # fmt: skip
    done = subprocess.run(command, env=environment(config), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert done.stderr.startswith("Error: ")
    assert "can't be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_writer_waits_for_the_restore_and_then_writes_the_next_version(
    made: Path, store: SettingsStore, config: Config, db: Db, connect: Connect
) -> None:
    with gate(db, connect) as let_on, ThreadPoolExecutor(3) as pool:
        restoring = asyncio.create_task(restore_backup(store, made, replace=True))
        await until_waiting(db, 1)
        writes = [
            pool.submit(table_rows, connect(), query)
            for query in (
                f"select version from patch_user_setting('{OKX_UID}', 'params', '{{\"leverage\": 9}}')",
                f"select version from register_user('{OTHER_UID}') where setting_type = 'params'",
                f"select version from upsert_user_setting('{OKX_UID}', 'dual_side', '{{}}', 1)",
            )
        ]
        await until_waiting(db, 4)
        let_on()
        await restoring
        assert [write.result(30) for write in writes] == [[(2,)], [(1,)], [(2,)]]
    await relay.drain(store._connections)
    found = await store.get(OKX_UID, "params", source="redis")
    assert found is not None
    assert (found.settings["leverage"], (await verify(store._connections)).findings.total()) == (9, 0)


async def test_what_a_writer_commits_before_the_restore_gets_its_turn_is_not_thrown_away(
    made: Path, config: Config, other_database_url: str
) -> None:
    with (
        psycopg.connect(other_database_url, row_factory=dict_row) as writer,
        psycopg.connect(other_database_url, row_factory=dict_row, autocommit=True) as watcher,
    ):
        writer.execute("select register_user(%s)", (OTHER_UID,))
        async with on(config, other_database_url) as store:
            restoring = asyncio.create_task(restore_backup(store, made))
            await until_waiting(watcher, 1)
            writer.commit()
            with pytest.raises(NotEmpty):
                await restoring
        assert table_rows(watcher, "select okx_uid from app_users") == [(OTHER_UID,)]


async def test_of_two_restores_at_once_into_an_empty_database_one_wins(
    made: Path, store: SettingsStore, config: Config, db: Db, other_database_url: str
) -> None:
    async with on(config, other_database_url) as one, on(config, other_database_url) as two:
        outcomes = await asyncio.gather(
            *(restore_backup(each, made) for each in (one, two, one, two)), return_exceptions=True
        )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NotEmpty"] * 3 + ["Restored"]
    with psycopg.connect(other_database_url, row_factory=dict_row, autocommit=True) as other_db:
        assert table_rows(other_db, "select count(*) from app_users") == [(1,)]


async def test_a_restore_succeeds_without_redis_which_follows_later(
    made: Path, store: SettingsStore, own_redis: RedisServer
) -> None:
    own_redis.stop()
    restored = await restore_backup(store, made, replace=True)
    assert (restored.users, restored.mirrored) == (1, False)
    own_redis.start()
    store._connections.mirror.retry_now()
    await relay.drain(store._connections)
    assert not (await verify(store._connections)).findings
    found = await store.get(OKX_UID, "params", source="redis")
    assert found is not None
    assert found.settings["leverage"] != 77


async def test_a_restore_merges_without_redis_too(
    made: Path, store: SettingsStore, own_redis: RedisServer, db: Db
) -> None:
    own_redis.pause()
    restored = await restore_backup(store, made, merge=True)
    assert not restored.mirrored
    own_redis.resume()
    store._connections.mirror.retry_now()
    await relay.drain(store._connections)
    assert not (await verify(store._connections)).findings
    query = "select max(version) from user_settings where setting_type = 'params'"
    assert table_rows(db, query) == [(3,)]
