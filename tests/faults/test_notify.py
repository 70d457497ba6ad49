"""`relay --notify` through what happens to PostgreSQL: it polls while it isn't told, and is told again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from store import Config, SettingsStore
from store.coherence import fresh_marks
from store.coherence.relay import Relay
from tests.conftest import OKX_UID
from tests.faults.servers import PATIENCE, PostgresServer, eventually

SAVE = "select upsert_user_setting(%s, 'params', jsonb_build_object('leverage', %s::integer))"


@pytest.fixture
async def store(config: Config, own_postgres: PostgresServer) -> AsyncIterator[SettingsStore]:
    """A store on a PostgreSQL of the tests' own."""
    async with SettingsStore(replace(config, database_url=own_postgres.url)) as opened:
        await opened.register(OKX_UID)
        yield opened


@pytest.fixture
async def relay(store: SettingsStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relay]:
    """A relay that is notified."""
    monkeypatch.setattr(fresh_marks, "AGAIN", 0.1)
    running = Relay(store._connections, notify=True)
    task = asyncio.create_task(running.run())
    yield running
    running.stopping.set()
    await asyncio.wait_for(task, PATIENCE)


def write(server: PostgresServer, leverage: int, then: str = "commit") -> None:
    with psycopg.connect(server.url, autocommit=True, row_factory=dict_row) as db:
        db.execute("begin")
        db.execute(SAVE, (OKX_UID, leverage))
        db.execute(then.encode())


async def arrives(store: SettingsStore, leverage: int) -> None:
    async def is_there() -> bool:
        found: Any = await store.get(OKX_UID, "params", source="redis")
        return found is not None and found.settings.get("leverage") == leverage

    await eventually(is_there)


async def rests(relay: Relay) -> None:
    async def it_does() -> bool:
        return relay._fresh_marks.rests and relay._is_started

    await eventually(it_does)


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_postgresql_that_ends_and_comes_back(
    store: SettingsStore, relay: Relay, own_postgres: PostgresServer, how: str
) -> None:
    await rests(relay)
    await asyncio.to_thread(getattr(own_postgres, how))
    await asyncio.to_thread(own_postgres.start)
    write(own_postgres, 3)
    await arrives(store, 3)
    await rests(relay)
    write(own_postgres, 4)
    await arrives(store, 4)


async def test_where_transactions_may_be_prepared_nobody_notifies(
    store: SettingsStore, relay: Relay, own_postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def it_said_so() -> bool:
        return "max_prepared_transactions is not 0" in caplog.text

    await rests(relay)
    with psycopg.connect(own_postgres.url, autocommit=True) as db:
        db.execute("alter system set max_prepared_transactions = 5")
    try:
        await asyncio.to_thread(own_postgres.stop)
        await asyncio.to_thread(own_postgres.start)
        await eventually(it_said_so)
        with psycopg.connect(own_postgres.url, autocommit=True) as db:
            db.execute("select setval('relay_listens', 0)")  # of before the restart, which took less than a second
        write(own_postgres, 5, "prepare transaction 'ours'")
        with psycopg.connect(own_postgres.url, autocommit=True) as db:
            db.execute("commit prepared 'ours'")
        await arrives(store, 5)
        assert not relay._fresh_marks.rests
    finally:
        with psycopg.connect(own_postgres.url, autocommit=True) as db:
            db.execute("alter system reset max_prepared_transactions")
        await asyncio.to_thread(own_postgres.stop)
        await asyncio.to_thread(own_postgres.start)
    await rests(relay)
