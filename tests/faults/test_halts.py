"""The kill switch while a store is away: it holds by the other one, and where neither answers nobody is let trade."""

from __future__ import annotations

from dataclasses import replace

import pytest

from store import Config, DatabaseUnavailable, SettingsStore
from store.coherence import relay
from tests.conftest import OKX_UID
from tests.faults.servers import PostgresServer, RedisServer, eventually


@pytest.mark.parametrize("cache", [0, 10])
async def test_without_redis_a_halt_holds_and_is_there_when_redis_comes_back(
    config: Config, store: SettingsStore, own_redis: RedisServer, cache: int
) -> None:
    async with SettingsStore(config, cache=cache) as bot:

        async def is_halted() -> bool:
            return await bot.halted(OKX_UID) is not None

        assert not await is_halted()
        own_redis.stop()
        saved = await store.halt_trading("down")
        assert not saved.mirrored
        await eventually(is_halted)
        own_redis.start()
        await eventually(lambda: _is_drained(store))
        await eventually(is_halted)


async def _is_drained(store: SettingsStore) -> bool:
    store._connections.mirror.retry_now()
    done = await relay.drain(store._connections)
    return not done.failures


async def test_without_postgresql_redis_answers_and_without_both_nobody_may_trade(
    config: Config, own_redis: RedisServer, own_postgres: PostgresServer
) -> None:
    async with SettingsStore(replace(config, database_url=own_postgres.url), cache=10) as bot:
        await bot.halt_trading("down")
        own_postgres.stop()
        halt = await bot.halted(OKX_UID)
        assert halt is not None
        own_redis.stop()

        async def is_unknown() -> bool:
            try:
                await bot.halted(OKX_UID)
            except DatabaseUnavailable:
                return True
            return False

        await eventually(is_unknown)
        with pytest.raises(DatabaseUnavailable):
            await bot.halted(OKX_UID)
