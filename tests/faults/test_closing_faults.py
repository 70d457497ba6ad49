"""A store closes within a bound, also while a server hangs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import psycopg

from store import Config, SettingsStore
from tests.conftest import OKX_UID
from tests.faults.servers import PostgresServer, RedisServer, eventually
from tests.faults.test_redis_connections import is_watched

BOUND = 60.0  # seconds; only that it ends at all counts


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(BOUND) as limit:
        yield
    assert not limit.expired()


async def test_a_store_closes_while_redis_hangs(config: Config, store: SettingsStore, own_redis: RedisServer) -> None:
    before = asyncio.all_tasks()

    async def follow(watching: SettingsStore) -> None:
        async for _ in watching.watch():
            pass

    for _ in range(3):
        async with bounded():
            async with SettingsStore(config, cache=10) as cached:
                following = asyncio.create_task(follow(cached))
                await eventually(lambda: is_watched(own_redis, cached))
                await cached.save(OKX_UID, "params", {"leverage": 20})
                own_redis.pause()
                reading = asyncio.create_task(cached.get(OKX_UID, "params", source="redis"))
                await asyncio.sleep(0)
                for task in (following, reading):
                    task.cancel()
                await asyncio.wait([following, reading])
                assert following.cancelled()
                assert reading.cancelled()
            own_redis.resume()
        assert asyncio.all_tasks() == before


@contextmanager
def hung(url: str) -> Iterator[None]:
    """Have the server's processes that serve this database hang; they keep their connections."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
            " and pid <> pg_backend_pid()"
        ).fetchall()
        try:
            for (pid,) in rows:
                os.kill(pid, signal.SIGSTOP)
            assert rows
            yield
        finally:
            for (pid,) in rows:
                os.kill(pid, signal.SIGCONT)


async def test_a_store_closes_while_postgresql_hangs(config: Config, own_postgres: PostgresServer) -> None:
    before = asyncio.all_tasks()
    async with SettingsStore(replace(config, database_url=own_postgres.url), cache=10) as store:
        await store.register(OKX_UID)
        await store.save(OKX_UID, "params", {"leverage": 20})
        assert store._connections.marks._done  # to be cleared a moment later
        with hung(own_postgres.url):
            async with bounded():
                await store.__aexit__()
            assert asyncio.all_tasks() == before
