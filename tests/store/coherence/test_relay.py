"""The relay: any writer's change reaches Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Change, SettingsStore
from store.coherence.relay import Relay
from store.coherence.verify import verify
from tests.conftest import OKX_UID, TELEGRAM_ID

Db = psycopg.Connection[dict[str, Any]]


@pytest.fixture
async def relay(store: SettingsStore) -> AsyncIterator[Relay]:
    """A relay that runs."""
    running = Relay(store._connections, poll=0.005)
    task = asyncio.create_task(running.run())
    yield running
    running.stopping.set()
    await asyncio.wait_for(task, 10)


async def eventually(condition: Any) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.005)


async def test_what_psql_writes_reaches_redis(store: SettingsStore, relay: Relay, user: str, db: Db) -> None:
    db.execute("select upsert_user_setting(%s, 'params', '{\"leverage\": 9}')", (user,))
    db.execute("update user_settings set settings = '{\"x\": 1}' where setting_type = 'dual_side' and is_active")
    db.execute("select ensure_user('1000000000000001', '12345')")

    async def arrived() -> bool:
        params = await store.get(user, "params", source="redis")
        dual_side = await store.get(user, "dual_side", source="redis")
        link = await store._connections.mirror.okx_uid_of("12345")
        return (
            params is not None and params.version == 2
            and dual_side is not None and dual_side.settings == {"x": 1}
            and link == "1000000000000001"
        )  # fmt: skip

    await eventually(arrived)
    assert not (await verify(store._connections)).findings
    assert db.execute("select count(*) as n from mirror_pending").fetchone() == {"n": 0}


async def test_a_rolled_back_write_does_not_reach_redis(store: SettingsStore, user: str, db: Db) -> None:
    with db.transaction(force_rollback=True):
        db.execute("select upsert_user_setting(%s, 'params', '{\"leverage\": 9}')", (user,))
    assert (await Relay(store._connections).once()).failures == {}
    found = await store.get(user, "params", source="redis")
    assert found is not None
    assert found.version == 1


async def test_it_reconciles_when_redis_lost_its_data(
    store: SettingsStore, relay: Relay, user: str, redis: redis_py.Redis
) -> None:
    async def equal() -> bool:
        return not (await verify(store._connections)).findings

    await eventually(equal)
    redis.flushall()

    async def refilled() -> bool:
        return bool(redis.exists(f"user:{user}:settings", f"user:{TELEGRAM_ID}:okx_uid") == 2)

    await eventually(refilled)
    await eventually(equal)


async def test_a_pass_of_once_heals_a_flushed_redis(store: SettingsStore, user: str, redis: redis_py.Redis) -> None:
    await Relay(store._connections).once()
    redis.flushall()
    await Relay(store._connections).once()
    assert not (await verify(store._connections)).findings


async def test_a_poison_row_is_set_aside_and_does_not_stop_the_rest(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    # Redis refuses this one key: the access list forbids it.
    redis.acl_setuser(
        "default",
        enabled=True,
        nopass=True,
        commands=["+@all"],
        reset_keys=True,
        keys=["user:5*", "user:1709*", "settings:*"],
    )
    try:
        await Relay(store._connections).once()
        db.execute("select upsert_user_setting(%s, 'params', '{\"leverage\": 9}')", (user,))
        db.execute("select ensure_user('1000000000000001')")
        progress = await Relay(store._connections).once()
    finally:
        redis.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"], keys=["*"])
    assert set(progress.failures) == {("1000000000000001", "user")}
    left = db.execute("select owner, attempts, last_error is not null as failed from mirror_pending").fetchall()
    assert left == [{"owner": "1000000000000001", "attempts": 1, "failed": True}]
    found = await store.get(user, "params", source="redis")
    assert found is not None
    assert found.version == 2
    assert (await Relay(store._connections).once()).failures == {}
    assert not (await verify(store._connections)).findings


async def test_several_relays_share_the_work(store: SettingsStore, user: str, db: Db) -> None:
    relays = [Relay(store._connections, poll=0.001) for _ in range(3)]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    for number in range(1, 101):
        db.execute("select patch_user_setting(%s, 'params', jsonb_build_object('n', %s::integer))", (user, number))
    for relay in relays:
        relay.stopping.set()
    await asyncio.gather(*tasks)
    found = await store.get(user, "params", source="redis")
    assert found is not None
    assert (found.version, found.settings["n"]) == (101, 100)
    assert not (await verify(store._connections)).findings


async def test_watch_yields_changes_in_order_and_catches_up(
    store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    changes = store.watch(user)
    first = asyncio.ensure_future(anext(changes))

    async def subscribed() -> bool:
        return bool(redis.pubsub_numsub("settings:changes")[0][1])

    await eventually(subscribed)

    async def seen() -> bool:  # what is saved before it has read the versions it starts from isn't news
        await store.patch(user, "preferences", {"n": asyncio.get_running_loop().time()})
        return first.done()

    await eventually(seen)
    newest = (await store.patch(user, "preferences", {"last": True})).version
    versions = [first.result().version]
    while versions[-1] < newest:
        versions.append((await asyncio.wait_for(anext(changes), 5)).version)
    assert versions == list(range(versions[0], newest + 1))

    following = asyncio.ensure_future(anext(changes))
    redis.client_kill_filter(_type="pubsub")
    await store.patch(user, "params", {"leverage": 4})  # while nobody listens
    await store.patch(user, "dual_side", {"use_dual_sl": True})
    missed = {await asyncio.wait_for(following, 5), await asyncio.wait_for(anext(changes), 5)}
    assert missed == {Change(OKX_UID, "params", 2), Change(OKX_UID, "dual_side", 2)}
    await changes.aclose()
