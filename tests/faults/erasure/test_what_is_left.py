"""What an erasure leaves in either store, with relays, a killed one, Redis down or flushed, or odd keys in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from store import RedisUnavailable, SettingsStore, UnknownUser
from store.coherence.relay import Relay, drain, reconcile
from store.coherence.verify import verify
from tests.conftest import TELEGRAM_ID
from tests.faults.erasure.conftest import EARLIER, VALUE, Db, assert_gone, content, marks, state
from tests.faults.servers import RedisServer, eventually


async def test_an_erasure_leaves_version_numbers_in_redis_and_they_expire(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    receipt = await store.erase_user(person)
    assert (receipt.settings, receipt.telegram_links, receipt.mirrored) == (3, 2, True)
    assert_gone(db, redis)
    assert redis.ttl(f"user:{person}:mirror") > 3000
    assert not (await verify(store._connections)).findings
    assert await store.get_all(TELEGRAM_ID, source="redis") == []
    with pytest.raises(UnknownUser):
        await store.get(person, "params")
    assert not (await store.erase_user(person)).was_known
    assert_gone(db, redis)


async def test_a_telegram_id_as_short_as_a_version_goes(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    await store.link(person, EARLIER)
    await store.erase_user(person)
    assert_gone(db, redis)


async def test_a_deleted_user_is_erased(store: SettingsStore, person: str, db: Db, redis: redis_py.Redis) -> None:
    await store.delete_user(person)
    await store.erase_user(person)
    assert_gone(db, redis)


async def test_an_erasure_from_psql_is_pending_until_a_relay_comes(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    assert {mark["erased"] for mark in marks(db)} == {True}
    assert set((await verify(store._connections)).findings) == {"pending"}
    relays = [Relay(store._connections, poll=0.001) for _ in range(2)]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]

    async def cleared() -> bool:
        return not marks(db)

    await eventually(cleared)
    for relay in relays:
        relay.stopping.set()
    await asyncio.gather(*tasks)
    assert_gone(db, redis)
    assert not (await verify(store._connections)).findings


async def test_a_repair_instead_of_a_relay_erases_too(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    assert (await verify(store._connections, repair=True)).remaining == 0
    await drain(store._connections)
    assert_gone(db, redis)


async def test_a_relay_killed_in_between_leaves_marks_for_the_next(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    await store._connections.mirror.apply((await state(store))[:3])  # and no mark cleared
    assert len(marks(db)) == 8
    assert {finding.finding for finding in (await verify(store._connections)).users} <= {"pending"}
    await drain(store._connections)
    assert_gone(db, redis)


async def test_while_redis_is_down_the_marks_stay(
    store: SettingsStore, person: str, db: Db, own_redis: RedisServer
) -> None:
    with own_redis.client() as client:
        client.save()
    own_redis.stop()
    receipt = await store.erase_user(person)
    assert not receipt.mirrored
    assert len(marks(db)) == 8
    own_redis.start()

    async def reached() -> bool:
        try:
            await Relay(store._connections).once()
        except RedisUnavailable:
            return False
        return True

    await eventually(reached)
    with own_redis.client() as client:
        assert_gone(db, client)


@pytest.mark.parametrize("is_flushed_first", [True, False])
async def test_a_flushed_redis_gets_nothing_back(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis, is_flushed_first: bool
) -> None:
    if is_flushed_first:
        redis.flushall()
    await store.erase_user(person)
    redis.flushall()
    await reconcile(store._connections)
    assert_gone(db, redis)
    assert content(redis) == {}


@pytest.mark.parametrize("kind", ["list", "set", "stream", "string", "hash", "not UTF-8"])
async def test_whatever_somebody_wrote_into_the_keys_goes(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis, kind: str
) -> None:
    write: dict[str, Callable[[str], Any]] = {
        "list": lambda key: redis.rpush(key, VALUE),
        "set": lambda key: redis.sadd(key, VALUE),
        "stream": lambda key: redis.xadd(key, {"note": VALUE}),
        "string": lambda key: redis.set(key, VALUE),
        "hash": lambda key: redis.hset(key, "note", VALUE),
        "not UTF-8": lambda key: redis.set(key, b"\xff\xfe" + VALUE.encode()),
    }
    keys = [f"user:{person}:{suffix}" for suffix in ("settings", "preferences", "dual_side")]
    for key in [*keys, f"user:{TELEGRAM_ID}:okx_uid"]:
        redis.delete(key)
        write[kind](key)
    await store.erase_user(person)
    assert_gone(db, redis)


@pytest.mark.parametrize("kind", ["list", "string", "fields"])
async def test_whatever_somebody_wrote_into_the_mirror_hash_goes(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis, kind: str
) -> None:
    key = f"user:{person}:mirror"
    if kind == "fields":
        redis.hset(key, mapping={"note": VALUE, "life": VALUE, "params": VALUE, "params:digest": VALUE})
    else:
        redis.delete(key)
        redis.rpush(key, VALUE) if kind == "list" else redis.set(key, VALUE)
    await store.erase_user(person)
    assert_gone(db, redis)
