"""The predecessor's API while a server is away: with Redis down everything works, with PostgreSQL down nothing is lost
unnoticed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from store import Config, DatabaseUnavailable, TimescalePool, TimescaleUserService
from store.coherence.verify import verify
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import PostgresServer, RedisServer
from tests.helpers.credentials import KEY

service = TimescaleUserService
KEYS = {"api_key": "plain-ak", "api_secret": "plain-as", "passphrase": "plain-pp"}


@pytest.fixture
def config(own_postgres: PostgresServer, own_redis: RedisServer) -> Config:
    """The configuration of servers that may both be stopped."""
    return Config(own_postgres.url, own_redis.url)


@pytest.fixture(autouse=True)
async def pool(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The environment of a bot that uses them; the pool is closed at the end."""
    for name, value in (
        ("DATABASE_URL", config.database_url), ("REDIS_URL", config.redis_url), ("SETTINGS_STORE_KEYS", KEY),
        ("DB_TIMEOUT", "1"), ("MIRROR_CREDENTIALS", ""),
    ):  # fmt: skip
        monkeypatch.setenv(name, value or "")
    yield
    await TimescalePool.close_pool()


async def test_with_redis_down_users_and_settings_are_saved_and_read(own_redis: RedisServer) -> None:
    own_redis.stop()
    assert await service.set_telegram_link(OKX_UID, TELEGRAM_ID) is not None
    assert await service.upsert_api_credentials(OKX_UID, **KEYS) is not None
    assert await service.save_all_user_settings(OKX_UID, params={"leverage": 3})
    assert await service.get_setting_by_type(TELEGRAM_ID, "params") == {"leverage": 3}
    assert await service.get_api_keys(OKX_UID) == KEYS

    own_redis.start()
    stores = (await TimescalePool.get_pool()).store._connections
    stores.mirror.retry_now()
    findings = (await verify(stores, repair=True)).findings
    assert set(findings) == {"pending"}  # all that is missing is marked
    assert not (await verify(stores)).findings


async def test_with_postgresql_down_every_call_says_so_and_the_next_after_it_works(
    own_postgres: PostgresServer,
) -> None:
    record = await service.ensure_user_exists(OKX_UID, TELEGRAM_ID)
    assert record is not None
    assert await service.save_all_user_settings(OKX_UID, params={"leverage": 3})
    own_postgres.stop()
    for call in (
        service.fetch_user(OKX_UID), service.ensure_user_exists(OKX_UID), service.unlink_telegram(OKX_UID),
        service.set_telegram_link(OKX_UID, TELEGRAM_ID), service.get_api_keys(OKX_UID),
        service.upsert_api_credentials(OKX_UID, **KEYS), service.get_user_settings(OKX_UID),
        service.get_setting_by_type(OKX_UID, "params"), service.save_all_user_settings(OKX_UID, params={}),
        service.upsert_user_settings(record.user["id"], OKX_UID, None, "params", {}),
    ):  # fmt: skip
        with pytest.raises(DatabaseUnavailable, match="can't be reached"):
            await call
    with pytest.raises(DatabaseUnavailable):
        await TimescalePool.acquire().__aenter__()
    own_postgres.start()
    assert await service.get_setting_by_type(OKX_UID, "params") == {"leverage": 3}
    async with TimescalePool.acquire() as conn:
        assert await conn.fetchval("select okx_uid from app_users") == OKX_UID


async def test_a_server_that_was_away_at_the_first_call_is_asked_again(own_postgres: PostgresServer) -> None:
    own_postgres.stop()
    with pytest.raises(DatabaseUnavailable):
        await service.fetch_user("99999")
    own_postgres.start()
    assert await service.fetch_user("99999") is None
