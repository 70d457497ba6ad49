"""The cache when its connection breaks, hangs or is refused: no hit is older than the bound, no change is missed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from store import Config, SettingsStore
from store.mirror.cache import STALE
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import RedisServer, eventually

PARAMS = f"user:{OKX_UID}:settings"
ROGUE = '{"leverage": 41}'


@pytest.fixture
async def cached(config: Config, store: SettingsStore) -> AsyncIterator[SettingsStore]:
    """A store with a cache; `store` is another process's."""
    async with SettingsStore(config, cache=10) as opened:
        yield opened


def is_kept(store: SettingsStore, identifier: str = OKX_UID) -> bool:
    return store._cache.find(identifier, "params") is not None


async def warm(store: SettingsStore, identifier: str = OKX_UID) -> None:
    """Read until it is served from the cache."""

    async def is_warm() -> bool:
        await store.get(identifier, "params")
        return is_kept(store, identifier)

    await eventually(is_warm)


async def reads(store: SettingsStore, leverage: int) -> bool:
    found = await store.get(OKX_UID, "params")
    return found is not None and found.settings["leverage"] == leverage


class Link:
    """A socket in front of Redis that can stop passing anything on, as a network does."""

    def __init__(self, target: Path) -> None:
        self.socket = target.with_name("link.sock")
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Link:
        self._server = await asyncio.start_unix_server(self._accept, self.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def hang(self) -> None:
        self._flows.clear()

    def recover(self) -> None:
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._target)
        for source, target in ((reader, there_writer), (there_reader, writer)):
            self._pipes.add(asyncio.create_task(self._pass_on(source, target)))

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flows.wait()
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()


async def test_a_hanging_network_costs_at_most_the_bound(
    config: Config, store: SettingsStore, own_redis: RedisServer
) -> None:
    target = Path(own_redis.url.removeprefix("unix://"))
    async with (
        Link(target) as link,
        SettingsStore(replace(config, redis_url=f"unix://{link.socket}"), cache=10) as cached,
    ):
        await warm(cached)
        link.hang()
        hung_at = time.monotonic()
        await store.save(OKX_UID, "params", {"leverage": 33})  # the cached store isn't told of it

        while True:
            called_at = time.monotonic()
            if not is_kept(cached):
                break
            assert called_at <= hung_at + STALE
            await asyncio.sleep(0.01)
        found = await cached.get(OKX_UID, "params")
        assert found is not None
        assert (found.source, found.settings) == ("db", {"leverage": 33})

        link.recover()
        await eventually(lambda: reads(cached, 33))
        await warm(cached)
        assert await reads(cached, 33)


async def test_a_paused_redis_costs_at_most_the_bound(cached: SettingsStore, own_redis: RedisServer) -> None:
    await warm(cached)
    own_redis.pause()
    paused_at = time.monotonic()
    while True:
        called_at = time.monotonic()
        found = await cached.get(OKX_UID, "params")
        assert found is not None
        if found.source == "db":
            break
        assert called_at <= paused_at + STALE
        await asyncio.sleep(0.01)
    own_redis.resume()
    await warm(cached)


async def test_a_change_that_comes_with_the_loss_of_the_connection_is_not_missed(
    cached: SettingsStore, own_redis: RedisServer
) -> None:
    await warm(cached)
    with own_redis.client() as client:
        before = client.client_list(_type="pubsub")[0]["id"]
        with client.pipeline(transaction=True) as pipeline:
            pipeline.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            pipeline.set(PARAMS, ROGUE)
            assert pipeline.execute() == [1, True]

        async def is_back() -> bool:
            now = client.client_list(_type="pubsub")
            return bool(now) and now[0]["id"] != before and cached._cache._fresh_until > time.monotonic()

        await eventually(is_back)
    assert await reads(cached, 41)


async def test_a_restarted_redis_that_lost_its_data(
    cached: SettingsStore, store: SettingsStore, own_redis: RedisServer
) -> None:
    await warm(cached)
    own_redis.stop()
    await eventually(lambda: _is_forgotten(cached))
    found = await cached.get(OKX_UID, "params")
    assert found is not None
    assert found.source == "db"
    await store.save(OKX_UID, "params", {"leverage": 33})
    own_redis.start()
    with own_redis.client() as client:
        client.flushall()
    await eventually(lambda: reads(cached, 33))
    await warm(cached)
    assert await reads(cached, 33)


async def _is_forgotten(store: SettingsStore) -> bool:
    return not is_kept(store) and not store._cache._pages


async def test_an_evicted_document_is_not_served(cached: SettingsStore, own_redis: RedisServer) -> None:
    await warm(cached)
    with own_redis.client() as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", "1")  # evicts everything
        await eventually(lambda: _is_forgotten(cached))
        found = await cached.get(OKX_UID, "params")
        assert found is not None
        assert found.source == "db"


@pytest.mark.parametrize("identifier", [OKX_UID, TELEGRAM_ID])
async def test_a_redis_that_refuses_to_track_is_read_as_without_a_cache(
    config: Config, store: SettingsStore, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, identifier: str
) -> None:
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-client")
        with caplog.at_level(logging.WARNING, "store.cache"):
            async with SettingsStore(config, cache=10) as cached:

                async def is_said() -> bool:
                    return "nothing is cached" in caplog.text

                await eventually(is_said)
                for _ in range(3):
                    found = await cached.get(identifier, "params")
                    assert found is not None
                    assert found.source == "redis"
                    assert not is_kept(cached, identifier)
                client.execute_command("ACL", "SETUSER", "default", "+client")
                await warm(cached, identifier)
    assert caplog.text.count("nothing is cached") == 1
