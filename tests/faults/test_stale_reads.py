"""Reads that begin after a write is acknowledged see it, though another read of the same is under way, and may hang."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import psycopg
import pytest

from store import Config, SettingsStore
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import PATIENCE, RedisServer, wait_until
from tests.helpers.credentials import KEY, secrets, with_keys

CHANGE = "update user_settings set settings = settings || jsonb_build_object('?', %s::integer) where is_active"

Db = psycopg.Connection[dict[str, Any]]
Read = Callable[[SettingsStore], Awaitable[int]]


async def version(store: SettingsStore, identifier: str = OKX_UID, **how: Any) -> int:
    found = await store.get(identifier, "dual_side", **how)
    assert found is not None
    return found.version


async def least(store: SettingsStore, **how: Any) -> int:
    return min(setting.version for setting in await store.get_all(OKX_UID, **how))


READS: dict[str, tuple[Read, Read]] = {
    "PostgreSQL": (lambda s: version(s, source="db"), lambda s: version(s, source="db")),
    "a fallback": (version, version),
    "PostgreSQL, beside a fallback": (version, lambda s: version(s, source="db")),
    "a fallback, beside PostgreSQL": (lambda s: version(s, source="db"), version),
    "by Telegram ID": (lambda s: version(s, TELEGRAM_ID), lambda s: version(s, TELEGRAM_ID)),
    "of a symbol": (lambda s: version(s, symbol="A-B"), lambda s: version(s, symbol="A-B")),
    "all, of PostgreSQL": (lambda s: least(s, source="db"), lambda s: least(s, source="db")),
    "all, by fallbacks": (least, least),
}


@pytest.fixture
def config(config: Config) -> Config:
    """A store with a key for credentials."""
    return with_keys(config, KEY)


@contextmanager
def stopped(db: Db, waiting: int = 1) -> Iterator[list[psutil.Process]]:
    """Stop the backends that wait for this connection's lock: they have taken their snapshots."""

    def pids() -> list[int]:
        query = "select pid from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid))"
        return [row["pid"] for row in db.execute(query)]

    wait_until(lambda: len(pids()) >= waiting)
    backends = [psutil.Process(pid) for pid in pids()]
    for backend in backends:
        backend.suspend()
    try:
        yield backends
    finally:
        for backend in backends:
            backend.resume()


def flush(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


async def begun(reading: Awaitable[int], turns: int = 20) -> asyncio.Task[int]:
    """Begin a read, as far as it gets without an answer."""
    task = asyncio.ensure_future(reading)
    for _ in range(turns):
        await asyncio.sleep(0.005)
    return task


async def test_a_read_does_not_join_one_whose_snapshot_is_taken(
    store: SettingsStore, own_redis: RedisServer, db: Db
) -> None:
    await least(store, source="db")
    for expected, (reads, (first, second)) in enumerate(READS.items(), start=2):
        flush(own_redis)
        with db.transaction():
            db.execute("lock user_settings in access exclusive mode")
            early = await begun(first(store))
            with stopped(db) as backends:
                db.execute(CHANGE, (expected,))
                db.execute("commit")
                db.execute("begin")
                late = await begun(second(store))
                for backend in backends:
                    backend.resume()
                async with asyncio.timeout(PATIENCE):
                    assert await late == expected, reads
                    await early


async def test_reads_of_a_key_do_not_wait_for_one_that_hangs(
    store: SettingsStore, own_redis: RedisServer, db: Db
) -> None:
    await least(store, source="db")
    for reads, (first, second) in READS.items():
        flush(own_redis)
        with db.transaction():
            db.execute("lock user_settings in access exclusive mode")
            early = await begun(first(store))
            with stopped(db):
                db.execute("rollback")
                db.execute("begin")
                for _ in range(3):
                    async with asyncio.timeout(PATIENCE / 4):
                        assert await second(store) == 1, reads
                assert not early.done()
            await early


async def test_what_many_want_at_once_is_asked_for_a_few_times(store: SettingsStore, db: Db) -> None:
    await version(store, source="db")
    with db.transaction():
        db.execute("lock user_settings in access exclusive mode")
        reading = [await begun(version(store, source="db"), 1) for _ in range(20)]
        assert len(store._flights) < 8  # normally two: one under way, one that waits for it
        db.execute("rollback")
        db.execute("begin")
        assert await asyncio.gather(*reading) == [1] * 20


async def test_a_late_answer_about_credentials_does_not_let_redis_bring_older_ones(
    store: SettingsStore, own_redis: RedisServer, db: Db
) -> None:
    await store.save_credentials(OKX_UID, *secrets("old"))
    await store.get_credentials(TELEGRAM_ID)
    old = own_redis.content()
    with db.transaction():
        db.execute("lock okx_api_info in access exclusive mode")
        early = asyncio.create_task(store.get_credentials(TELEGRAM_ID))
        await begun(version(store))
        with stopped(db) as backends:
            db.execute("rollback")
            db.execute("begin")
            saved = await store.save_credentials(OKX_UID, *secrets("new"))
            for backend in backends:
                backend.resume()
            assert await early is not None
    with own_redis.client() as client:
        client.flushall()
        for key, value in old.items():
            client.restore(key, 0, value)
    found = await store.get_credentials(OKX_UID)
    assert found is not None
    assert found.version == saved.version
