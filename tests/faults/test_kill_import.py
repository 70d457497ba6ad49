"""An import that is killed or interrupted at any moment took everything or nothing, and leaves nothing locked."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore
from store.coherence import relay
from store.coherence.verify import verify
from store.files.export import PAGE
from tests.cli.conftest import CHECKOUT, SCRIPT, environment
from tests.faults.servers import RedisServer, wait_until
from tests.faults.test_kill import is_alone

pytestmark = pytest.mark.slow

USERS = PAGE + 20  # so that the import is two queries of one transaction
KILLS = 3
Db = psycopg.Connection[dict[str, Any]]
Connect = Callable[[], Db]


def uid(n: int) -> str:
    return f"58766250476834{n:04}"


@pytest.fixture
def file(db: Db, tmp_path: Path) -> str:
    """A file that changes every other user of the database, and makes the rest."""
    db.execute(
        "select upsert_user_setting(u.okx_uid, 'params', '{\"?\": \"old\"}')"
        " from generate_series(0, %s, 2) n, ensure_user('58766250476834' || lpad(n::text, 4, '0')) u",
        (USERS - 1,),
    )
    users = [{"okx_uid": uid(n), "name": "new", "settings": {"params": {"?": "new"}}} for n in range(USERS)]
    path = tmp_path / "in.json"
    path.write_text(json.dumps({"format": "settings-store export", "version": 1, "users": users}))
    return str(path)


@contextmanager
def importing(config: Config, file: str) -> Iterator[subprocess.Popen[str]]:
    command = [str(SCRIPT), "import", file]
    with subprocess.Popen(
        command, env=environment(config), cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def imported(db: Db) -> int:
    """How many documents the import has written; it must be none of the users' or all."""
    row = db.execute(
        "select count(*) filter (where u.name = 'new') as users,"
        "       count(*) filter (where settings ->> '?' = 'new') as documents,"
        "       count(*) filter (where s.version > 1) as changed, count(*) as all"
        "  from app_users u left join user_settings s on s.user_id = u.id and s.is_active"
    ).fetchone()
    assert row is not None
    assert (row["users"], row["documents"], row["changed"], row["all"]) in (
        (0, 0, 0, USERS // 2), (USERS, USERS, USERS // 2, USERS)
    )  # fmt: skip
    return int(row["documents"])


def assert_nothing_is_locked(connect: Connect) -> None:
    with connect() as other, other.transaction():
        other.execute("select from app_users for update nowait")
        other.execute("select from user_settings for update nowait")
        other.execute("select from mirror_pending for update nowait")
        other.execute("select from telegram_links for update nowait")


def waits_in_the_second_query(db: Db, rival: Db) -> bool:
    """Whether somebody waits for the rival, in a transaction that has written already."""
    row = db.execute(
        "select count(*) as n from pg_stat_activity a"
        " where %s = any (pg_blocking_pids(a.pid)) and a.backend_xid is not null",
        (rival.info.backend_pid,),
    ).fetchone()
    return row is not None and row["n"] == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_an_import_ended_in_its_transaction_wrote_nothing(
    config: Config, db: Db, connect: Connect, own_redis: RedisServer, file: str, number: signal.Signals
) -> None:
    rival = connect()
    before = own_redis.content()
    with importing(config, file) as process, rival.transaction():
        rival.execute("select from app_users where okx_uid = %s for update", (uid(USERS - 2),))
        wait_until(lambda: waits_in_the_second_query(db, rival))
        process.send_signal(number)
        out, err = process.communicate(timeout=30)  # though the lock it waits for is still held
        wait_until(lambda: not waits_in_the_second_query(db, rival))  # and so does its transaction in PostgreSQL
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert "Traceback" not in err
    assert out == ""

    rival.close()
    wait_until(lambda: is_alone(db))
    assert imported(db) == 0
    assert own_redis.content() == before
    assert_nothing_is_locked(connect)
    with importing(config, file) as process:
        assert process.wait(30) == 0
    assert imported(db) == USERS


async def test_an_import_killed_at_any_moment_took_all_or_nothing(
    config: Config, db: Db, connect: Connect, file: str
) -> None:
    chance = random.Random(20261122)
    start = time.monotonic()
    with importing(config, file) as process:
        assert process.wait(60) == 0
    took = time.monotonic() - start
    for _ in range(KILLS):
        db.execute('update user_settings set settings = \'{"?": "again"}\' where is_active')
        with importing(config, file) as process:
            time.sleep(chance.uniform(took / 2, took))  # anywhere within it
            process.kill()
            process.wait()
        wait_until(lambda: is_alone(db))
        row = db.execute(
            'select count(*) as n from user_settings where is_active and settings = \'{"?": "new"}\''
        ).fetchone()
        assert row is not None
        assert row["n"] in (0, USERS)
        assert_nothing_is_locked(connect)
    async with SettingsStore(config) as store:
        await relay.drain(store._connections)
        assert (await verify(store._connections)).findings == {}
