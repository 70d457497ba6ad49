"""Whom a store is confined to, with PostgreSQL away: a confined store gets nobody else's, others go on reading."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from store import Config, DatabaseUnavailable, NotPermitted, SettingsStore, StoreError
from store.coherence import relay
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import PostgresServer, RedisServer, eventually
from tests.helpers.credentials import KEY, OTHER, secrets, with_keys


@pytest.fixture
def config(own_postgres: PostgresServer, own_redis: RedisServer) -> Config:
    """The configuration of a PostgreSQL that may be stopped."""
    config = Config(own_postgres.url, own_redis.url, own_postgres.home, db_timeout=1.0, redis_retry_after=0.2)
    return with_keys(config, KEY)


@pytest.fixture
async def both(config: Config) -> Config:
    """Two users with credentials, in both stores."""
    async with SettingsStore(config) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        await store.register(OTHER)
        for okx_uid in (OKX_UID, OTHER):
            await store.save_credentials(okx_uid, *secrets(okx_uid))
        await relay.reconcile(store._connections)
    return config


async def assert_confined(store: SettingsStore) -> None:
    for source in (None, "redis"):
        with pytest.raises(NotPermitted if source else StoreError):
            await store.get(OTHER, "params", source=source)
    for call in (store.get_credentials(OTHER), store.get_credentials(TELEGRAM_ID), store.get(TELEGRAM_ID, "params")):
        with pytest.raises(DatabaseUnavailable):
            await call
    found = await store.get(OKX_UID, "params")
    assert found is not None
    assert found.source == "redis"
    assert await store.get_credentials(OKX_UID) is not None


async def test_a_store_confined_by_its_url_is_so_without_postgresql(both: Config, own_postgres: PostgresServer) -> None:
    own_postgres.stop()
    url = make_conninfo(own_postgres.url, options=f"-c settings_store.okx_uid={OKX_UID}")
    async with SettingsStore(replace(both, database_url=url)) as store:
        await assert_confined(store)


async def test_what_postgresql_said_once_holds_while_it_is_away(both: Config, own_postgres: PostgresServer) -> None:
    name = conninfo_to_dict(own_postgres.url).get("dbname", "postgres")
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        setting = f"alter role current_user in database {name}"
        connection.execute(f"{setting} set settings_store.okx_uid = '{OKX_UID}'")
        try:
            async with SettingsStore(both) as store:
                await store.get(OKX_UID, "params")
                own_postgres.stop()
                await assert_confined(store)
        finally:
            own_postgres.start()
            with psycopg.connect(own_postgres.url, autocommit=True) as again:
                again.execute(f"{setting} reset settings_store.okx_uid")


async def test_a_store_that_nothing_confines_reads_from_redis_also_if_it_starts_without_postgresql(
    both: Config, own_postgres: PostgresServer
) -> None:
    own_postgres.stop()
    async with SettingsStore(both) as store:
        for identifier in (OKX_UID, OTHER, TELEGRAM_ID):
            found = await store.get(identifier, "params")
            assert found is not None
            assert found.source == "redis"
        assert await store.get_credentials(OTHER) is not None
        own_postgres.start()  # it is asked again, by the reads themselves

        async def is_known() -> bool:
            await store.get(OKX_UID, "params")
            return store._connections.confinement.okx_uid == ""

        await eventually(is_known)
