"""Connections to Redis that died while nobody used them, that are few, or that know no HELLO: nobody is to notice."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from store import Config, RedisUnavailable, SettingsStore
from store.api.watch import Change
from store.coherence.relay import Relay
from store.mirror.pipeline import Command, exchange
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import PATIENCE, RedisServer, eventually
from tests.servers.topologies.redis import PASSWORD, QUOTED, Node

POOLED, READS = 40, 20
OPTIONS = ["", "?protocol=2", "?protocol=3"]


def restart(server: RedisServer) -> None:
    server.stop()
    server.start()


def disconnect_all(server: RedisServer) -> None:
    """End every connection, as `timeout` of Redis does with idle ones. The store can't notice before its next turn."""
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)


async def fill_pool(store: SettingsStore, number: int = POOLED) -> None:
    """Have the store open so many connections."""
    redis = store._connections.mirror.redis
    waiting = Command(("BLPOP", "nothing", "0.2"))
    await asyncio.gather(*(exchange(redis, [waiting]) for _ in range(number)))


async def sources(store: SettingsStore, number: int = READS) -> set[str]:
    """Tell who answered so many reads at once, half of them by Telegram ID."""
    reads = (store.get((OKX_UID, TELEGRAM_ID)[n % 2], "params") for n in range(number))
    return {str(found and found.source) for found in await asyncio.gather(*reads)}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("end", [restart, disconnect_all])
async def test_dead_connections_cost_no_read_and_no_save(
    config: Config, store: SettingsStore, own_redis: RedisServer, end: Callable[[RedisServer], None], options: str
) -> None:
    async with SettingsStore(
        replace(config, redis_url=f"{own_redis.url}{options}", redis_retry_after=60, redis_timeout=PATIENCE)
    ) as other:
        for leverage in (20, 21):
            await fill_pool(other)
            end(own_redis)
            assert await sources(other) == {"redis"}
            await fill_pool(other)
            end(own_redis)
            assert (await other.save(OKX_UID, "params", {"leverage": leverage})).mirrored
    assert await store.get(OKX_UID, "params", source="redis") == await store.get(OKX_UID, "params")


@pytest.mark.parametrize("lacking", [[]], ids=["nothing"], indirect=True)
async def test_connections_that_redis_closes_because_they_are_idle_cost_nothing(config: Config, lacking: Node) -> None:
    lacking.call("CONFIG", "SET", "timeout", "1")

    async def are_closed() -> bool:
        return int(lacking.info("clients")["connected_clients"]) == 1

    url = f"redis://:{QUOTED}@{lacking.address}/0"
    async with SettingsStore(replace(config, redis_url=url, redis_retry_after=60, redis_timeout=PATIENCE)) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        await fill_pool(store)
        await eventually(are_closed)
        assert (await store.save(OKX_UID, "params", {"leverage": 20})).mirrored
        assert await sources(store) == {"redis"}


async def test_a_redis_that_is_gone_is_left_alone_all_the_same(config: Config, own_redis: RedisServer) -> None:
    async with SettingsStore(replace(config, redis_retry_after=60, redis_timeout=PATIENCE)) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        await fill_pool(store)
        own_redis.stop()
        assert await sources(store) == {"db"}
        own_redis.start()
        assert await sources(store) == {"db"}
        with pytest.raises(RedisUnavailable, match="a moment ago"):
            await store.get(OKX_UID, "params", source="redis")
        store._connections.mirror.retry_now()
        assert await sources(store) == {"redis"}


@pytest.mark.parametrize("limit", [1, 3])
async def test_who_finds_no_connection_free_waits_for_one(
    config: Config, store: SettingsStore, own_redis: RedisServer, limit: int
) -> None:
    url = f"{own_redis.url}?max_connections={limit}"
    async with SettingsStore(
        replace(config, redis_url=url, redis_retry_after=60, redis_timeout=PATIENCE), cache=10
    ) as few:
        changes = few.watch(OKX_UID)
        following = asyncio.ensure_future(anext(changes))
        await eventually(lambda: is_watched(own_redis, few))  # that takes none of the few
        for leverage in (20, 21):
            saves = (few.patch(OKX_UID, kind, {"n": leverage}) for kind in ("params", "dual_side", "preferences") * 3)
            assert all(saved.mirrored for saved in await asyncio.gather(*saves))
            few._cache.forget(None)
            assert await sources(few, 60) == {"redis"}
        assert isinstance(await following, Change)
        await changes.aclose()
        with own_redis.client() as client:
            assert few._connections.mirror.redis.connection_pool.max_connections == limit
            own, others = 1, 1  # this client's, that of `store`
            assert len(client.client_list(_type="normal")) <= own + others + limit


async def is_watched(server: RedisServer, store: SettingsStore) -> bool:
    with server.client() as client:
        return bool(client.pubsub_numsub(store._connections.mirror.channel)[0][1])


@pytest.fixture
def lacking(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A Redis, by TCP, that wants a password and lacks some commands, as an old one or a proxy."""
    home = Path(tempfile.mkdtemp(prefix="ss-"))
    password = None if "AUTH" in request.param else PASSWORD
    node = Node(home, *(["--requirepass", password] if password else []))
    (node.home / "redis.conf").write_text("".join(f'rename-command {name} ""\n' for name in request.param))
    node.password = password
    try:
        node.start()
        yield node
    finally:
        node.kill()
        shutil.rmtree(home)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("lacking", [["HELLO"]], indirect=True)
async def test_a_redis_lacking_is_as_good_as_any(config: Config, lacking: Node, options: str) -> None:
    url = f"redis://:{QUOTED}@{lacking.address}/0{options}"
    async with SettingsStore(
        replace(config, redis_url=url, redis_retry_after=60, redis_timeout=PATIENCE), cache=10
    ) as store:
        registered = await store.register(OKX_UID, TELEGRAM_ID)
        assert all(saved.mirrored for saved in registered.settings)
        assert await sources(store) == {"redis"}

        async def is_kept() -> bool:
            await store.get(OKX_UID, "params")
            return store._cache.find(OKX_UID, "params") is not None

        await eventually(is_kept)


async def refusal_of(read: Awaitable[object]) -> str:
    with pytest.raises(RedisUnavailable) as caught:
        await read
    error = caught.value
    return f"{error!r} {error} {error.detail} {error.hint} {error.__cause__!r}"


@pytest.mark.parametrize("lacking", [["AUTH", "HELLO"], ["EVALSHA"]], ids=["login", "scripts"], indirect=True)
async def test_what_redis_quotes_of_an_unknown_command_is_told_to_nobody(
    config: Config, lacking: Node, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://:{QUOTED}@{lacking.address}/0"
    async with SettingsStore(
        replace(config, redis_url=url, redis_retry_after=0.001, redis_timeout=PATIENCE), cache=10
    ) as store:
        with caplog.at_level("DEBUG", "store"):
            saved = await store.register(OKX_UID, TELEGRAM_ID, documents={"params": {"secret": PASSWORD}})
            assert not any(setting.mirrored for setting in saved.settings)
            told = [await refusal_of(store.get(OKX_UID, "params", source="redis"))]
            try:
                told += (await Relay(store._connections).once()).failures.values()
            except RedisUnavailable as error:
                told.append(f"{error!r} {error} {error.__cause__!r}")
    assert len(told) > 1
    assert all("unknown command" in text for text in told)
    for text in (*told, caplog.text):
        assert PASSWORD not in text
        assert OKX_UID not in text
