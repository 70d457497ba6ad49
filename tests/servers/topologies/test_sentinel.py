"""A Redis that Sentinel watches: its master dies, hangs or is replaced under load. `make test-sentinel`"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count

import pytest

from store import Config, RedisUnavailable, SettingsStore
from store.api.watch import Change
from store.coherence.relay import Relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from tests.cli.conftest import Cli, environment
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually, wait_until
from tests.servers.topologies.conftest import HUNG_AFTER
from tests.servers.topologies.load import Load
from tests.servers.topologies.redis import PASSWORD, QUOTED, Sentinels

pytestmark = pytest.mark.sentinel

DOCUMENT = f"user:{OKX_UID}:settings"


async def test_everything_works_with_the_master_that_sentinel_names(
    behind_sentinel: Config, sentinels: Sentinels
) -> None:
    async with SettingsStore(behind_sentinel) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        saved = await store.patch(OKX_UID, "params", {"leverage": 3})
        found = await store.get(TELEGRAM_ID, "params")
        assert found is not None
        assert (saved.mirrored, found.source, found.settings["leverage"]) == (True, "redis", 3)
        sentinels.master.call("HSET", f"user:{OKX_UID}:dual_side", "use_dual_sl", "True")
        assert (await Sync(store._connections).run())["edited"] == 1
        await Relay(store._connections).once()
        assert (await verify(store._connections)).findings == {}


async def test_nothing_is_lost_when_the_master_dies_under_load(behind_sentinel: Config, sentinels: Sentinels) -> None:
    async with Load(behind_sentinel) as load:
        await load.more(100)
        dead = sentinels.master
        dead.kill()
        await load.more(100)  # not mirrored at first, but saved
        assert sentinels.master is not dead
        dead.start()  # as a replica
        await asyncio.to_thread(wait_until, sentinels.is_whole)
        await load.more(100)
    assert load.refused == 0


async def test_nothing_is_lost_when_another_is_made_the_master_under_load(
    behind_sentinel: Config, sentinels: Sentinels
) -> None:
    async with Load(behind_sentinel) as load:
        for _ in range(2):
            await load.more(100)
            await asyncio.to_thread(sentinels.fail_over)
            await asyncio.to_thread(wait_until, sentinels.is_whole)
        await load.more(100)
    assert load.refused == 0


async def test_nothing_is_lost_when_a_hung_master_wakes_up_replaced(
    behind_sentinel: Config, sentinels: Sentinels
) -> None:
    async with Load(replace(behind_sentinel, redis_timeout=HUNG_AFTER)) as load:
        await load.more(100)
        hung = sentinels.master
        hung.pause()
        await asyncio.to_thread(wait_until, lambda: sentinels.master is not hung)
        await load.more(100)
        hung.resume()  # and takes itself for the master, until a sentinel tells it
        await load.more(100)
        await asyncio.to_thread(wait_until, sentinels.is_whole)
    assert load.refused == 0


async def test_what_redis_acknowledged_and_lost_is_put_back(behind_sentinel: Config, sentinels: Sentinels) -> None:
    async with SettingsStore(behind_sentinel) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        await Relay(store._connections).once()
        master = sentinels.master
        replicas = sentinels.replicas
        wait_until(lambda: all(node.info("replication")["slave_repl_offset"] > 0 for node in replicas))
        for node in replicas:
            node.call("REPLICAOF", "NO", "ONE")  # they hear nothing of what follows
        saved = await store.patch(OKX_UID, "params", {"leverage": 7})
        assert saved.mirrored
        master.kill()
        wait_until(lambda: sentinels.master is not master)
        assert '"leverage": 7' not in sentinels.master.call("GET", DOCUMENT)

        async def put_back() -> bool:
            try:
                await Relay(store._connections).once()
            except RedisUnavailable:
                return False
            return not (await verify(store._connections)).findings

        await eventually(put_back)
        assert '"leverage": 7' in sentinels.master.call("GET", DOCUMENT)


async def test_dead_connections_and_few_of_them_cost_no_read_and_no_save(
    behind_sentinel: Config, sentinels: Sentinels
) -> None:
    url = f"{behind_sentinel.redis_url}&max_connections=3"
    async with SettingsStore(replace(behind_sentinel, redis_url=url, redis_retry_after=60)) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        master = sentinels.master
        for leverage in range(2, 7):
            for node in (master, *sentinels.sentinels):
                node.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            found = await asyncio.gather(*(store.get((OKX_UID, TELEGRAM_ID)[n % 2], "params") for n in range(20)))
            assert {setting.source for setting in found if setting} == {"redis"}
            master.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert (await store.patch(OKX_UID, "params", {"leverage": leverage})).mirrored


async def test_the_cache_follows_the_master(behind_sentinel: Config, sentinels: Sentinels) -> None:
    async with SettingsStore(behind_sentinel, cache=10) as cached, SettingsStore(behind_sentinel) as other:

        async def is_hit() -> bool:
            await cached.get(OKX_UID, "params")
            return cached._cache.find(OKX_UID, "params") is not None

        await other.register(OKX_UID)
        await eventually(is_hit)
        await asyncio.to_thread(sentinels.fail_over)
        await asyncio.to_thread(wait_until, sentinels.is_whole)

        async def is_told() -> bool:
            """Whether it keeps a document that is dropped once the new master has another."""
            if not await is_hit():
                return False
            sentinels.master.call("SET", DOCUMENT, '{"leverage": 5}')
            for _ in range(100):
                if cached._cache.find(OKX_UID, "params") is None:
                    return True
                await asyncio.sleep(0.01)
            return False

        await eventually(is_told)


async def test_watch_goes_on_with_the_new_master(behind_sentinel: Config, sentinels: Sentinels) -> None:
    async with SettingsStore(behind_sentinel) as store:
        await store.register(OKX_UID)
        seen: list[Change] = []

        async def follow() -> None:
            async for change in store.watch():
                seen.append(change)

        following, numbers = asyncio.create_task(follow()), count()

        async def is_told() -> bool:
            saved = await store.patch(OKX_UID, "params", {"n": next(numbers)})
            await asyncio.sleep(0.05)
            return Change(OKX_UID, "params", saved.version) in seen

        for _ in range(2):
            await eventually(is_told)
            dead = sentinels.master
            dead.kill()
            await asyncio.to_thread(wait_until, lambda: sentinels.master is not dead)  # noqa: B023
            dead.start()
            await asyncio.to_thread(wait_until, sentinels.is_whole)
        await eventually(is_told)
        following.cancel()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f":{QUOTED}@", ":wr0ng@"),
        (f"sentinel_password={QUOTED}", "sentinel_password=wr0ng"),
        ("/settings/", "/nobody/"),
    ],
    ids=["password", "password of the sentinels", "service"],
)
async def test_what_is_wrong_is_told_without_secrets(behind_sentinel: Config, before: str, after: str) -> None:
    url = (behind_sentinel.redis_url or "").replace(before, after)
    assert url != behind_sentinel.redis_url
    async with SettingsStore(replace(behind_sentinel, redis_url=url)) as store:
        with pytest.raises(RedisUnavailable) as caught:
            await store.get(OKX_UID, "params", source="redis")
    told = f"{caught.value!r} {caught.value.detail} {caught.value.hint}"
    assert not any(secret in told for secret in (PASSWORD, QUOTED, "wr0ng"))


def test_commands_and_shells_go_to_the_master(behind_sentinel: Config, sentinels: Sentinels) -> None:
    cli = Cli(environment(behind_sentinel))
    cli("register", OKX_UID)
    assert cli("redis-cli", "exists", DOCUMENT).lines == ["1"]
    assert "role:master" in cli("redis-cli", "info", "replication").lines
    assert cli("verify", "--json").json["findings"] == {}
    assert {"version"} <= set(cli("status", "--json").json["redis"])
