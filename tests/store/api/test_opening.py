"""A store is opened and closed as a program needs, and says so where it can't be used."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from store import Config, SettingsStore, StoreError, TimescalePool
from tests.conftest import OKX_UID


async def test_a_store_may_be_opened_and_closed_by_hand_and_again(config: Config) -> None:
    store = SettingsStore(config)
    for _ in range(2):
        assert await store.open() is store
        assert await store.open() is store
        await store.register(OKX_UID)
        assert await store.get(OKX_UID, "params") is not None
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="the store is not open"):
            await store.find_user(OKX_UID)


async def test_openings_at_once_are_one(config: Config) -> None:
    store = SettingsStore(config)
    await asyncio.gather(*(store.open() for _ in range(10)))
    await store.register(OKX_UID)
    await asyncio.gather(*(store.close() for _ in range(10)))


async def test_a_store_that_never_worked_is_closed_all_the_same(config: Config) -> None:
    nowhere = replace(config, database_url="postgresql://127.0.0.1:1/x", redis_url="redis://127.0.0.1:1")
    store = await SettingsStore(nowhere, cache=10).open()
    with pytest.raises(StoreError, match="can't be reached"):
        await store.find_user(OKX_UID)
    await store.close()
    await store.close()


async def in_another_loop(store: SettingsStore, call: str) -> object:
    """Call a method in the event loop of another thread, while this one goes on."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(asyncio.run(getattr(store, call)(*([OKX_UID] if call == "find_user" else []))))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    await asyncio.to_thread(thread.join)
    return results[0]


@pytest.mark.parametrize("call", ["find_user", "open", "close", "list_templates"])
async def test_another_event_loop_is_told_that_it_needs_a_store_of_its_own(store: SettingsStore, call: str) -> None:
    await store.register(OKX_UID)
    error = await in_another_loop(store, call)
    assert isinstance(error, StoreError), error
    assert "in another event loop" in str(error)
    assert await store.find_user(OKX_UID) is not None


@pytest.mark.usefixtures("left_open")
def test_a_store_whose_event_loop_has_ended_may_be_opened_in_the_next(config: Config) -> None:
    """As the cells of a notebook, or tests, do: asyncio.run() after asyncio.run()."""
    store = SettingsStore(config, cache=10)

    async def use() -> object:
        await store.open()
        await store.register(OKX_UID)
        return await store.get(OKX_UID, "params")

    for _ in range(3):
        assert asyncio.run(use()) is not None
    with pytest.raises(StoreError, match="in another event loop"):
        asyncio.run(store.find_user(OKX_UID))
    asyncio.run(store.close())


async def test_rounds_of_lent_connections_and_calls_of_the_store_all_work(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", config.database_url or "")
    monkeypatch.setenv("REDIS_URL", config.redis_url or "")
    store = (await TimescalePool.get_pool()).store
    try:
        await store.register(OKX_UID)
        for n in range(30):
            async with TimescalePool.acquire() as conn:
                assert await conn.fetchval("select count(*) from app_users where okx_uid = $1", OKX_UID) == 1
                if n == 10:
                    await conn.execute("prepare theirs as select 1")
            for _ in range(3):
                assert await store.get(OKX_UID, "params", source="db") is not None
        async with TimescalePool.acquire() as conn:
            assert await conn.fetch("select from pg_prepared_statements where from_sql") == []
            await conn.execute("discard all")  # the borrower's own business
        for _ in range(10):
            assert await store.get(OKX_UID, "params", source="db") is not None
    finally:
        await TimescalePool.close_pool()
