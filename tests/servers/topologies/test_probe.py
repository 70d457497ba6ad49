"""The probe where Redis is several: what fails over is no wrong read."""

from __future__ import annotations

import asyncio

import pytest

from store import Config, SettingsStore
from store.operations.probe import PATHS
from tests.faults.servers import wait_until
from tests.faults.test_probe import probing, relaying
from tests.servers.topologies.redis import Cluster, Sentinels


@pytest.mark.sentinel
async def test_a_failover_is_no_wrong_read(behind_sentinel: Config, sentinels: Sentinels) -> None:
    async with SettingsStore(behind_sentinel) as store, relaying(store), probing(behind_sentinel) as told:
        await told.until("right", *PATHS)
        dead = sentinels.master
        dead.kill()
        await told.until("unanswered", "redis")
        await told.until("right", *PATHS)
        dead.start()  # as a replica
        await asyncio.to_thread(wait_until, sentinels.is_whole)
        await told.until("right", *PATHS)
    assert told.violations == []


@pytest.mark.cluster
async def test_a_node_that_dies_makes_no_wrong_read(on_cluster: Config, cluster: Cluster) -> None:
    async with SettingsStore(on_cluster) as store, relaying(store), probing(on_cluster) as told:
        await told.until("right", *PATHS)
        for node in cluster.primaries:  # one of them has the probe's keys
            node.kill()
            await asyncio.to_thread(wait_until, lambda: len(cluster.primaries) == 3 and cluster.is_whole())
            await told.until("right", *PATHS)
            node.start()  # as a replica
            await asyncio.to_thread(wait_until, lambda: len(cluster.primaries) == 3 and cluster.is_whole())
        await told.until("right", *PATHS)
    assert told.violations == []
