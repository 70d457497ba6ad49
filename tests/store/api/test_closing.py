"""What was begun ends: a store that is closed, a read that is cancelled, whatever Python, redis-py and psycopg do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore
from store.ending import end
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually

Db = psycopg.Connection[dict[str, Any]]
Act = Callable[[SettingsStore], Awaitable[object]]
ROUNDS = 120
BOUND = 30.0  # seconds; only that it ends at all counts


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """Fail if what is inside doesn't end by itself."""
    async with asyncio.timeout(BOUND) as limit:
        yield
    assert not limit.expired()  # whoever loses a cancellation loses this one, too


@pytest.mark.parametrize("turns", range(8))
async def test_a_store_with_a_cache_closes_whenever_it_is_told_to(config: Config, user: str, turns: int) -> None:
    before = asyncio.all_tasks()
    for _ in range(10):
        async with bounded(), SettingsStore(config, cache=10_000) as cached:
            await cached.get(user, "params")
            for _ in range(turns):
                await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def follow(store: SettingsStore) -> None:
    async for _ in store.watch():
        pass


ACTS: dict[str, Act] = {
    "get": lambda store: store.get(OKX_UID, "params"),
    "get by Telegram ID": lambda store: store.get(TELEGRAM_ID, "params"),
    "get from PostgreSQL": lambda store: store.get(OKX_UID, "params", source="db"),
    "get_all": lambda store: store.get_all(OKX_UID),
    "save": lambda store: store.save(OKX_UID, "params", {"leverage": 20}),
    "watch": follow,
}


@pytest.mark.parametrize("act", ACTS)
async def test_what_is_cancelled_ends_as_cancelled(config: Config, user: str, act: str) -> None:
    async def work(store: SettingsStore) -> None:
        await ACTS[act](store)

    cancelled = 0
    for turns in range(ROUNDS):
        async with bounded(), SettingsStore(config) as store:  # a new one: it has to connect first
            if turns % 2 and act != "watch":
                await work(store)
            task = asyncio.create_task(work(store))
            for _ in range(turns % 40):
                await asyncio.sleep(0)
            if task.cancel():
                await asyncio.wait([task])
                assert task.cancelled(), turns
                cancelled += 1
            else:
                await task
    assert cancelled > ROUNDS / 4


async def test_a_query_that_nobody_waits_for_any_more_ends_with_the_store(config: Config, user: str, db: Db) -> None:
    before = asyncio.all_tasks()
    async with bounded(), SettingsStore(config) as store:
        await store.get(user, "params", source="db")
        with db.transaction():
            db.execute("lock table user_settings in access exclusive mode")
            reading = asyncio.create_task(store.get(user, "params", source="db"))
            await eventually(lambda: waits(db))
            reading.cancel()
            await asyncio.wait([reading])
            assert len(store._flights) == 1
            await store.__aexit__()
            assert asyncio.all_tasks() == before


async def waits(db: Db) -> bool:
    row = db.execute("select count(*) as n from pg_locks where not granted and database = "
                     "(select oid from pg_database where datname = current_database())").fetchone()  # fmt: skip
    return bool(row and row["n"])


async def test_a_task_that_loses_cancellations_ends_all_the_same() -> None:
    async def stubborn() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(3600)

    async def failing() -> None:
        raise ValueError("nobody asks for it")

    tasks = [asyncio.create_task(work) for work in (stubborn(), stubborn(), failing())]
    async with bounded():
        await asyncio.sleep(0)
        await end(*tasks)
        await end(*tasks)
    assert [task.cancelled() for task in tasks] == [True, True, False]
