"""A database of the test's own, and the Redis servers it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from store import Config
from tests.servers.topologies.redis import Cluster, Sentinels

HUNG_AFTER = 0.5  # seconds: a server that hangs is to be given up before it wakes up, replaced
HASH_TAG = "user:{{{id}}}:{suffix}"


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    """A Redis master with two replicas and three sentinels."""
    with Sentinels() as servers:
        yield servers


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A Redis Cluster of three primaries with a replica each."""
    with Cluster() as servers:
        yield servers


@pytest.fixture
def behind_sentinel(servers: Config, database_url: str, sentinels: Sentinels) -> Config:
    """The configuration of the test's database and the Redis that Sentinel watches."""
    return replace(servers, database_url=database_url, redis_url=sentinels.url, redis_retry_after=0.1)


@pytest.fixture
def on_cluster(servers: Config, database_url: str, cluster: Cluster) -> Config:
    """The configuration of the test's database and the cluster."""
    return replace(
        servers, database_url=database_url, redis_url=cluster.url, redis_retry_after=0.1, key_template=HASH_TAG
    )
