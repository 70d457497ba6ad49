"""Behind pgbouncer in transaction mode: needs the program, so it runs by `make test-pgbouncer`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Config, SettingsStore
from store.coherence.relay import Relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.postgres import migrate
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import PATIENCE, eventually
from tests.servers.topologies.pooler import pooler

pytestmark = pytest.mark.pgbouncer


@pytest.fixture
def pooled(config: Config) -> Iterator[Config]:
    """The test's configuration, with a transaction-mode pooler of three connections before PostgreSQL."""
    with pooler(config.database_url or "", 3) as url:
        yield replace(config, database_url=url)


async def test_everything_works_behind_a_transaction_mode_pooler(
    pooled: Config, db: psycopg.Connection[dict[str, Any]], redis: redis_py.Redis
) -> None:
    migrate.migrate(pooled.database_url or "")
    assert migrate.status(pooled.database_url or "").is_current
    async with SettingsStore(pooled) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        saved = await asyncio.gather(
            *(store.patch(OKX_UID, "params", {f"k{n}": n}, actor=f"actor {n}" if n % 2 else None) for n in range(60))
        )
        assert sorted(s.version for s in saved) == list(range(2, 62))
        actors = [r["changed_by"] for r in db.execute("select changed_by from user_settings where version > 1")]
        assert sum(actor.startswith("actor ") for actor in actors) == 30

        redis.hset(f"user:{OKX_UID}:dual_side", "use_dual_sl", "True")
        await Sync(store._connections).run()
        db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (OKX_UID,))
        await Relay(store._connections).once()
        assert not (await verify(store._connections)).findings
        assert [s.okx_uid for s in await store.search("params", {"leverage": 3})] == [OKX_UID]


async def test_a_relay_to_be_notified_polls_and_says_why(
    pooled: Config, db: psycopg.Connection[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    async with SettingsStore(pooled) as store:
        await store.register(OKX_UID)
        relay = Relay(store._connections, notify=True)
        running = asyncio.create_task(relay.run())

        async def is_known() -> bool:
            return "no writer notifies, so this polls: a pooler is in between" in caplog.text

        await eventually(is_known)
        db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (OKX_UID,))

        async def has_arrived() -> bool:
            found = await store.get(OKX_UID, "params", source="redis")
            return found is not None and found.settings.get("leverage") == 3

        await eventually(has_arrived)
        assert not relay._fresh_marks.rests
        relay.stopping.set()
        await asyncio.wait_for(running, PATIENCE)
    assert db.execute("select 1 from pg_stat_activity where query ilike 'listen%'").fetchall() == []


def test_two_migrations_at_once_behind_a_pooler(pooled: Config) -> None:
    command = [
        "-c",
        "import sys; from store.postgres import migrate; migrate.migrate(sys.argv[1])",
        pooled.database_url or "",
    ]
    running = [subprocess.Popen([sys.executable, *command]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
