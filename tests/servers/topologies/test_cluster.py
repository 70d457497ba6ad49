"""A Redis Cluster of six: slots move and nodes die under load. `make test-cluster`"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from itertools import count

import pytest

from store import Config, RedisUnavailable, SettingsStore
from store.api.watch import Change
from store.coherence import epochs
from store.coherence.relay import Relay, reconcile
from store.coherence.sync import Sync
from store.coherence.verify import verify
from tests.cli.conftest import Cli, environment
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually, wait_until
from tests.servers.topologies.conftest import HASH_TAG, HUNG_AFTER
from tests.servers.topologies.load import USERS, Load
from tests.servers.topologies.redis import Cluster

pytestmark = pytest.mark.cluster

OTHER_UID = "587662504768345930"


async def register(store: SettingsStore) -> None:
    await asyncio.gather(*(store.register(user, f"{n + 10_000}") for n, user in enumerate(USERS)))


async def test_everything_works_on_a_cluster(on_cluster: Config, cluster: Cluster) -> None:
    async with SettingsStore(on_cluster) as store:
        await register(store)
        assert min(node.call("DBSIZE") for node in cluster.primaries) > 10  # the users are on all of them
        await store.register(OKX_UID, TELEGRAM_ID)
        saved = await store.patch(OKX_UID, "params", {"leverage": 3})
        found = await store.get(TELEGRAM_ID, "params")
        assert found is not None
        assert (saved.mirrored, found.source, found.settings["leverage"]) == (True, "redis", 3)

        key = f"user:{{{OKX_UID}}}:dual_side"
        rogue = f"user:{{{OTHER_UID}}}:settings"
        async with SettingsStore(on_cluster) as other:
            await other._connections.mirror.redis.hset(key, "use_dual_sl", "True")
            await other._connections.mirror.redis.set(rogue, '{"leverage": 9}')
        outcomes = await Sync(store._connections).run()
        assert (outcomes["edited"], outcomes["new"]) == (1, 1)

        await store.unlink(OKX_UID)
        await store.link(OTHER_UID, TELEGRAM_ID)
        await store.delete(OKX_UID, "dual_side")
        await store.delete_user(USERS[0])
        await store.erase_user(USERS[1])
        await Relay(store._connections).once()
        report = await verify(store._connections)
        assert report.findings == {}
        assert report.checked > 80
        assert await store.get(TELEGRAM_ID, "params", source="redis") == await store.get(OTHER_UID, "params")


async def test_reads_and_saves_of_many_go_to_the_nodes_that_have_them(on_cluster: Config, cluster: Cluster) -> None:
    async with SettingsStore(on_cluster) as store:
        await register(store)
        saved = await store.save_many({user: {"leverage": 7} for user in USERS}, "params")
        assert all(setting.mirrored for setting in saved.values())
        wanted = [*USERS, "10000"]  # the Telegram ID of the first
        found = await store.get_many(wanted, "params", source="redis")
        assert [setting.okx_uid for setting in found.values()] == [*USERS, USERS[0]]
        together = await asyncio.gather(*(store.get(each, "params", source="redis") for each in wanted))
        assert together == list(found.values())
        assert len(store._connections.mirror._reads) >= 3  # of each node

        hung = cluster.primaries[0]
        hung.pause()
        try:
            reads = {user: asyncio.create_task(store.get(user, "params")) for user in USERS}
            on_hung = {user for user in USERS if store._connections.mirror._lane(user).endswith(f":{hung.port}")}
            assert 0 < len(on_hung) < len(USERS)
            await asyncio.wait([reads[user] for user in USERS if user not in on_hung])
            assert not any(reads[user].done() for user in on_hung)  # they wait for that node, and nobody with them
        finally:
            hung.resume()
        assert {setting and setting.source for setting in await asyncio.gather(*reads.values())} == {"redis"}


async def test_nothing_is_lost_while_slots_move_under_load(on_cluster: Config, cluster: Cluster) -> None:
    async with Load(on_cluster) as load:
        await load.more(100)
        first, second, third = cluster.primaries
        for source, target in ((first, second), (second, third), (third, first)):
            await asyncio.to_thread(cluster.reshard, source, target, 1500)
            await load.more(50)
    assert load.refused == 0


async def test_nothing_is_lost_when_a_node_dies_under_load(on_cluster: Config, cluster: Cluster) -> None:
    async with Load(on_cluster) as load:
        await load.more(100)
        dead = cluster.primaries[0]
        dead.kill()
        await asyncio.to_thread(wait_until, lambda: len(cluster.primaries) == 3 and cluster.is_whole())
        await load.more(100)
        dead.start()  # as a replica
        await asyncio.to_thread(wait_until, lambda: len(cluster.primaries) == 3 and cluster.is_whole())
        await load.more(100)
    assert load.refused == 0


async def test_nothing_is_lost_when_a_hung_node_wakes_up_replaced(on_cluster: Config, cluster: Cluster) -> None:
    async with Load(replace(on_cluster, redis_timeout=HUNG_AFTER)) as load:
        await load.more(100)
        hung = cluster.primaries[1]
        others = [node for node in cluster.nodes if node is not hung]
        hung.pause()
        await asyncio.to_thread(
            wait_until, lambda: sum(node.info("replication")["role"] == "master" for node in others) == 3
        )
        await load.more(100)
        hung.resume()
        await asyncio.to_thread(wait_until, lambda: len(cluster.primaries) == 3 and cluster.is_whole())
        await load.more(100)
    assert load.refused == 0


async def test_a_node_that_lost_its_data_is_filled_again(on_cluster: Config, cluster: Cluster) -> None:
    async with SettingsStore(on_cluster) as store:
        await register(store)
        relay = Relay(store._connections)
        await relay.once()
        assert (await relay.once()).mirrored == 0
        for node in cluster.primaries:
            node.call("FLUSHALL")
            assert (await verify(store._connections)).findings["missing"] > 10
            assert (await relay.once()).mirrored > 10
            assert (await verify(store._connections)).findings == {}


async def test_a_reconciliation_starts_again_if_a_node_loses_its_data_meanwhile(
    on_cluster: Config, cluster: Cluster
) -> None:
    async with SettingsStore(on_cluster) as store:
        await register(store)
        begun = await epochs.begin_reconciling(store._connections, "token")
        cluster.primaries[2].call("FLUSHALL")
        assert not await epochs.end_reconciling(store._connections, "token", begun)
        assert not await epochs.is_reconciled(store._connections)
        await reconcile(store._connections)
        assert (await verify(store._connections)).findings == {}


@pytest.mark.parametrize("limit", ["", "?max_connections=3"], ids=["many", "few"])
async def test_dead_connections_and_few_of_them_cost_no_read_and_no_save(
    on_cluster: Config, cluster: Cluster, limit: str
) -> None:
    def disconnect_all() -> None:
        for node in cluster.nodes:
            node.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async with SettingsStore(replace(on_cluster, redis_url=f"{cluster.url}{limit}", redis_retry_after=60)) as store:
        await register(store)
        for number in range(5):
            disconnect_all()
            found = await asyncio.gather(*(store.get(user, "params") for user in USERS * 2))
            assert {setting.source for setting in found if setting} == {"redis"}
            disconnect_all()
            saved = await asyncio.gather(*(store.patch(user, "params", {"n": number}) for user in USERS))
            assert all(each.mirrored for each in saved)
            disconnect_all()
            assert (await verify(store._connections)).findings == {}


async def test_watch_goes_on_when_nodes_die(on_cluster: Config, cluster: Cluster) -> None:
    async with SettingsStore(on_cluster) as store:
        await register(store)
        seen: list[Change] = []

        async def follow() -> None:
            async for change in store.watch():
                seen.append(change)

        following, numbers = asyncio.create_task(follow()), count()

        async def is_told() -> bool:
            saved = [await store.patch(user, "params", {"n": next(numbers)}) for user in USERS[:6]]
            await asyncio.sleep(0.05)
            return all(Change(each.okx_uid, "params", each.version) in seen for each in saved)

        for _ in range(2):
            await eventually(is_told)
            dead = cluster.primaries[0]
            dead.kill()
            await asyncio.to_thread(wait_until, lambda: len(cluster.primaries) == 3 and cluster.is_whole())
            dead.start()
            await asyncio.to_thread(wait_until, lambda: len(cluster.primaries) == 3 and cluster.is_whole())
        await eventually(is_told)
        following.cancel()


async def test_the_cache_says_that_it_is_off(on_cluster: Config, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "store.cache"):
        async with SettingsStore(on_cluster, cache=10) as store:
            await store.register(OKX_UID)
            for _ in range(2):
                await store.get(OKX_UID, "params")
            assert store._cache.find(OKX_UID, "params") is None
    assert "nothing is cached" in caplog.text


async def test_a_url_of_one_node_is_told_to_be_of_a_cluster(on_cluster: Config, cluster: Cluster) -> None:
    url = f"redis://{cluster.nodes[0].address}"
    async with SettingsStore(replace(on_cluster, redis_url=url)) as store:
        reads = (store.get(user, "params", source="redis") for user in USERS)
        refused = [each for each in await asyncio.gather(*reads, return_exceptions=True) if each is not None]
    assert refused
    assert all(isinstance(each, RedisUnavailable) and "node of a cluster" in str(each) for each in refused)


def test_commands_and_shells_know_the_cluster(on_cluster: Config) -> None:
    cli = Cli({**environment(on_cluster), "MIRROR_KEY_TEMPLATE": HASH_TAG})
    for uid in USERS[:2]:
        cli("register", uid)
        assert cli("redis-cli", "exists", f"user:{{{uid}}}:settings").lines == ["1"]
    assert cli("verify", "--json").json["findings"] == {}
    assert {"version"} <= set(cli("status", "--json").json["redis"])
