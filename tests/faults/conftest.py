"""A Redis of every test's own, and a PostgreSQL for those that stop it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from store import Config, SettingsStore
from store.postgres import migrate
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import PostgresServer, RedisServer
from tests.servers.stacks import postgres

HUNG_AFTER = 1.0  # seconds: tests wait for it where Redis hangs


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that only this test uses."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def config(servers: Config, store_url: str, own_redis: RedisServer) -> Config:
    """The configuration of the test's database and its own Redis."""
    return replace(
        servers, database_url=store_url, redis_url=own_redis.url, redis_retry_after=0.2, redis_timeout=HUNG_AFTER
    )


@pytest.fixture
async def store(config: Config) -> AsyncIterator[SettingsStore]:
    """An open store on them, with the user OKX_UID registered."""
    async with SettingsStore(config) as opened:
        await opened.register(OKX_UID, TELEGRAM_ID)
        yield opened


@pytest.fixture(scope="module")
def shared_postgres() -> Iterator[PostgresServer]:
    """A migrated PostgreSQL that the tests of a module stop and start."""
    with PostgresServer() as server:
        postgres.install_timescaledb(server.url)
        migrate.migrate(server.url)
        postgres.hurry(server.url)
        yield server


@pytest.fixture
def own_postgres(shared_postgres: PostgresServer) -> PostgresServer:
    """That PostgreSQL, running."""
    shared_postgres.start()
    return shared_postgres
