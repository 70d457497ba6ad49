"""Behind pgbouncer in transaction mode: needs the program, so it runs by `make test-pgbouncer`."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_py
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from store import Config, SettingsStore, schema
from store.relay import Relay
from store.sync import Sync
from store.verify import verify
from tests.conftest import OKX_UID, TELEGRAM_ID

pytestmark = pytest.mark.pgbouncer


@pytest.fixture
def pooled(config: Config) -> Iterator[Config]:
    """The test's configuration, with a transaction-mode pooler of three connections before PostgreSQL."""
    at = conninfo_to_dict(config.database_url or "")
    folder = Path(tempfile.mkdtemp(prefix="ss-pooler-"))
    folder.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={at.get('host', 'localhost')} port={at.get('port', 5432)} user={at['user']}"
        f" {'password=' + str(at['password']) if at.get('password') else ''}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 3\n"
    )
    as_user = []
    if os.geteuid() == 0:  # it refuses to be root, and must reach the socket
        host = str(at.get("host", ""))
        as_user = ["-u", pwd.getpwuid(os.stat(host).st_uid).pw_name if host.startswith("/") else "nobody"]
    pooler = subprocess.Popen(["pgbouncer", "-q", *as_user, str(folder / "pgbouncer.ini")])
    try:
        url = make_conninfo(host="127.0.0.1", port=port, dbname=str(at["dbname"]), user=str(at["user"]))
        deadline = time.monotonic() + 10
        while True:
            try:
                psycopg.connect(url, connect_timeout=2).close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield replace(config, database_url=url)
    finally:
        pooler.terminate()
        pooler.wait(10)
        shutil.rmtree(folder)


async def test_everything_works_behind_a_transaction_mode_pooler(
    pooled: Config, db: psycopg.Connection[dict[str, Any]], redis: redis_py.Redis
) -> None:
    schema.migrate(pooled.database_url or "")
    assert schema.status(pooled.database_url or "").is_current
    async with SettingsStore(pooled) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        saved = await asyncio.gather(
            *(store.patch(OKX_UID, "params", {f"k{n}": n}, actor=f"actor {n}" if n % 2 else None) for n in range(60))
        )
        assert sorted(s.version for s in saved) == list(range(2, 62))
        actors = [r["changed_by"] for r in db.execute("select changed_by from user_settings where version > 1")]
        assert sum(actor.startswith("actor ") for actor in actors) == 30

        redis.hset(f"user:{OKX_UID}:dual_side", "use_dual_sl", "True")
        await Sync(store.stores).run()
        db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (OKX_UID,))
        await Relay(store.stores).once()
        assert not (await verify(store.stores)).findings
        assert [s.okx_uid for s in await store.search("params", {"leverage": 3})] == [OKX_UID]


def test_two_migrations_at_once_behind_a_pooler(pooled: Config) -> None:
    command = ["-c", "import sys; from store import schema; schema.migrate(sys.argv[1])", pooled.database_url or ""]
    running = [subprocess.Popen([sys.executable, *command]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
