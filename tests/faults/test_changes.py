"""Who follows changes gets each once, though PostgreSQL stops and crashes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from store import Config, DatabaseUnavailable, SettingsStore
from tests.conftest import OKX_UID
from tests.faults.servers import PostgresServer, RedisServer, eventually


@pytest.fixture
def config(own_postgres: PostgresServer, own_redis: RedisServer) -> Config:
    """The configuration of a PostgreSQL that may be stopped."""
    return Config(own_postgres.url, own_redis.url, own_postgres.home, db_timeout=1.0)


@pytest.fixture
async def store(config: Config) -> AsyncIterator[SettingsStore]:
    async with SettingsStore(config) as opened:
        yield opened


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_following_goes_on_when_postgresql_is_back(
    store: SettingsStore, own_postgres: PostgresServer, how: str
) -> None:
    await store.register(OKX_UID)
    (*_, last) = [change async for change in store.changes()]
    found: list[int] = []

    async def follow() -> None:
        async for change in store.changes(last.cursor, follow=True):
            found.append(change.version)

    async def is_there() -> bool:
        return len(found) == expected

    following = asyncio.ensure_future(follow())
    saved = []
    for expected in (1, 2):
        saved.append((await store.patch(OKX_UID, "params", {"leverage": expected})).version)
        await eventually(is_there)
        if expected == 1:
            getattr(own_postgres, how)()
            with pytest.raises(DatabaseUnavailable):
                [change async for change in store.changes(last.cursor)]
            own_postgres.start()
    assert found == saved
    assert not following.done()
    following.cancel()
