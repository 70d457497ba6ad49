"""A Telegram ID that moved while Redis was away: whose document is read, and what a lost mirror hash knows of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore, UnknownUser
from store.coherence import relay
from store.models import Registration, SavedUser
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import RedisServer, eventually
from tests.helpers.credentials import OTHER


async def moved(store: SettingsStore) -> None:
    """Move the Telegram ID to OTHER, whom this store's Redis doesn't know of."""
    changes = [
        await store.unlink(OKX_UID),
        await store.link(OTHER, TELEGRAM_ID),
        await store.ensure_user(OTHER, name="Lee"),
        await store.delete_user("1000000000000002"),
        await store.restore_user("1000000000000002"),
        (await store.register(OTHER)).user,
    ]
    assert [change.mirrored for change in changes] == [False] * len(changes)


@pytest.mark.parametrize("cache", [0, 10])
async def test_a_document_is_that_of_the_user_who_is_asked_for(
    config: Config, store: SettingsStore, own_redis: RedisServer, cache: int
) -> None:
    for okx_uid in (OTHER, "1000000000000002"):
        assert (await store.register(okx_uid)).user.mirrored
    async with SettingsStore(config, cache=cache) as reader:
        for _ in range(2):  # a cache may have it
            before = await reader.get(TELEGRAM_ID, "params")
            assert before is not None
            assert before.okx_uid == OKX_UID
        old = own_redis.content()
        with own_redis.client() as client:
            client.config_set("min-replicas-to-write", 1)  # the writer and the relay don't get through
            await moved(store)
        assert own_redis.content() == old

        for source in (None, "db"):
            found = await reader.get(TELEGRAM_ID, "params", okx_uid=OTHER, min_version=1, source=source)
            assert found is not None
            assert (found.okx_uid, found.source) == (OTHER, "db")
            everything = await reader.get_all(TELEGRAM_ID, okx_uid=OTHER, source=source)
            assert {setting.okx_uid for setting in everything} == {OTHER}
            assert len(everything) == 3
        assert await reader.get(TELEGRAM_ID, "params", okx_uid=OTHER, source="redis") is None
        assert await reader.get_all(TELEGRAM_ID, okx_uid=OTHER, source="redis") == []
        with pytest.raises(UnknownUser, match=OTHER):
            await reader.get(OKX_UID, "params", okx_uid=OTHER)
        await store.delete(OKX_UID, "preferences")
        for kind in ("params", "preferences"):
            with pytest.raises(UnknownUser, match="1000000000000002"):
                await reader.get(TELEGRAM_ID, kind, okx_uid="1000000000000002", source="db")

        with own_redis.client() as client:
            client.config_set("min-replicas-to-write", 0)
        await relay.reconcile(store._connections)
        found = await reader.get(TELEGRAM_ID, "params", okx_uid=OTHER)
        assert found is not None
        assert (found.okx_uid, found.telegram_id, found.source) == (OTHER, TELEGRAM_ID, "redis")
        assert (await store.link(OTHER, "77777")).mirrored


@pytest.mark.parametrize("cache", [0, 10])
async def test_an_old_link_leads_to_nobody_who_is_known_to_have_another(
    config: Config, store: SettingsStore, own_redis: RedisServer, cache: int
) -> None:
    """As an older copy of Redis brings it back, of an ID that PostgreSQL has forgotten with an erased person."""
    async with SettingsStore(config, cache=cache) as reader:
        for _ in range(2):  # a cache may have it
            assert await reader.get(TELEGRAM_ID, "params") is not None
        with own_redis.client() as client:
            client.set("user:77777:okx_uid", OKX_UID)
        with pytest.raises(UnknownUser):
            await reader.get("77777", "params")
        for read in (reader.view("77777", "params"), reader.value("77777", "params", "leverage")):
            with pytest.raises(UnknownUser):
                await read
        with pytest.raises(UnknownUser):
            await reader.get("77777", "dual_side", symbol="BTC-USDT-SWAP")
        assert await reader.get("77777", "params", source="redis") is None
        for source in (None, "redis"):
            many = await reader.get_many(["77777", TELEGRAM_ID, OKX_UID], "params", source=source)
            assert set(many) == {TELEGRAM_ID, OKX_UID}
        assert await reader.get_all("77777", source="redis") == []


async def test_a_link_that_is_kept_ends_with_what_is_known_of_the_user(
    config: Config, store: SettingsStore, own_redis: RedisServer
) -> None:
    async with SettingsStore(config, cache=10) as reader:
        await eventually(lambda: _is_kept(reader))
        with own_redis.client() as client:
            client.hset(f"user:{OKX_UID}:mirror", "telegram_id", "")  # and nothing is told of the link itself
            await eventually(lambda: asyncio.sleep(0, reader._cache.find(OKX_UID, "params") is None))
        for _ in range(2):
            found = await reader.get(OKX_UID, "params")
            assert found is not None
        assert reader._cache.find(OKX_UID, "params") is not None
        assert reader._cache.find(TELEGRAM_ID, "params") is None


async def _is_kept(reader: SettingsStore) -> bool:
    await reader.get(TELEGRAM_ID, "params")
    return reader._cache.find(TELEGRAM_ID, "params") is not None


async def test_a_lost_mirror_hash_does_not_take_the_telegram_id_from_a_user(
    store: SettingsStore, own_redis: RedisServer
) -> None:
    for is_saved in (False, True):
        with own_redis.client() as client:
            client.delete(f"user:{OKX_UID}:mirror")
        if is_saved:
            assert (await store.patch(OKX_UID, "params", {"leverage": 20})).mirrored
        for source in (None, "redis"):
            found = await store.get(OKX_UID, "params", source=source)
            assert found is not None
            assert found.telegram_id == TELEGRAM_ID


CHANGES: dict[str, Callable[[SettingsStore], Coroutine[Any, Any, SavedUser | Registration]]] = {
    "link": lambda store: store.link(OKX_UID, "77777"),
    "unlink": lambda store: store.unlink(OKX_UID),
    "delete_user": lambda store: store.delete_user(OKX_UID),
    "ensure_user": lambda store: store.ensure_user(OKX_UID, "77777"),
    "register": lambda store: store.register(OKX_UID, "77777"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_waited_for_another_does_not_say_that_redis_has_that_ones_link(
    config: Config, store: SettingsStore, change: str
) -> None:
    with psycopg.connect(str(config.database_url)) as other, psycopg.connect(str(config.database_url)) as watching:
        watching.autocommit = True
        other.execute("select link_telegram(%s, '88888')", (OKX_UID,))
        changing = asyncio.create_task(CHANGES[change](store))
        query = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        await eventually(lambda: asyncio.sleep(0, watching.execute(query).fetchone() is not None))
        other.commit()
        done = await changing
        assert not (done.user if isinstance(done, Registration) else done).mirrored
    await relay.drain(store._connections)
    assert (await store.restore_user(OKX_UID)).mirrored
    assert (await store.unlink(OKX_UID)).mirrored
