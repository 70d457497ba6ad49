"""Redis down, hung, full, read-only, locked or loading: saves go on, reads go on, nothing is half-written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import RedisUnavailable, SettingsStore
from store.coherence import relay
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import RedisServer, eventually

Db = psycopg.Connection[dict[str, Any]]
Act = Callable[[RedisServer], None]
KINDS = ["dual_side", "params", "preferences"]


def configure(**settings: str) -> Act:
    def act(server: RedisServer) -> None:
        with server.client() as client:
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), value)

    return act


def replicate(host: str, port: str) -> Act:
    def act(server: RedisServer) -> None:
        with server.client() as client:
            client.execute_command("replicaof", host, port)

    return act


# What happens to Redis, and how it comes back. The first keep it from reading too, the others from writing only.
SILENT: dict[str, tuple[Act, Act]] = {
    "down": (RedisServer.stop, RedisServer.start),
    "hung": (RedisServer.pause, RedisServer.resume),
    "locked": (lambda server: server.require_password("secret"), lambda server: server.require_password(None)),
}
DEAF: dict[str, tuple[Act, Act]] = {
    "full": (
        configure(maxmemory_policy="noeviction", maxmemory="1"),
        configure(maxmemory="0"),
    ),
    "read-only": (replicate("127.0.0.1", "1"), replicate("no", "one")),
    "unable to save": (
        configure(min_replicas_to_write="1"),
        configure(min_replicas_to_write="0"),
    ),
}
FAULTS = SILENT | DEAF


def marks(db: Db) -> set[tuple[str, str, int]]:
    rows = db.execute("select owner, kind, version from mirror_pending").fetchall()
    return {(row["owner"], row["kind"], row["version"]) for row in rows}


async def served_by_redis(store: SettingsStore, kind: str = "params") -> bool:
    found = await store.get(OKX_UID, kind)
    assert found is not None
    return found.source == "redis"


async def drained(store: SettingsStore, *owners: str) -> bool:
    """Let the relay mirror what is marked; return whether Redis took it."""
    try:
        return not (await relay.drain(store._connections, owners)).failures
    except RedisUnavailable:
        return False


async def assert_nothing_half_written(store: SettingsStore, db: Db) -> None:
    """Check that what Redis holds is some version, whole."""
    await eventually(lambda: answers(store))
    for kind in KINDS:
        found = await store.get(OKX_UID, kind, source="redis")
        if found is not None:
            row = db.execute(
                "select settings from user_settings where setting_type = %s and version = %s", (kind, found.version)
            ).fetchone()
            assert row == {"settings": found.settings}


async def answers(store: SettingsStore) -> bool:
    try:
        await store.get(OKX_UID, "params", source="redis")
    except RedisUnavailable:
        return False
    return True


async def assert_equal(store: SettingsStore) -> None:
    """Check that both stores hold the same documents in the same versions."""
    for kind in KINDS:
        in_redis = await store.get(OKX_UID, kind, source="redis")
        in_db = await store.get(OKX_UID, kind, source="db")
        assert in_redis is not None
        assert in_db is not None
        assert (in_redis.version, in_redis.settings) == (in_db.version, in_db.settings)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_save_succeeds_and_stays_marked_until_redis_is_back(
    store: SettingsStore, own_redis: RedisServer, db: Db, fault: str
) -> None:
    fail, recover = FAULTS[fault]
    before = own_redis.content()
    assert marks(db) == set()

    fail(own_redis)
    saved = await store.save(OKX_UID, "params", {"leverage": 20})
    several = await store.save_all(OKX_UID, {"dual_side": {"use_dual_sl": True}, "preferences": {"symbol": "X"}})
    deleted = await store.delete(OKX_UID, "params")
    again = await store.save(OKX_UID, "params", {"leverage": 21})
    assert deleted is not None
    assert [s.mirrored for s in (saved, *several, deleted, again)] == [False] * 5
    assert [s.version for s in (saved, *several, deleted, again)] == [2, 2, 2, 3, 4]
    pending = {(OKX_UID, "params", 4), (OKX_UID, "dual_side", 2), (OKX_UID, "preferences", 2)}
    assert marks(db) == pending
    assert not await drained(store, OKX_UID)
    assert marks(db) == pending

    recover(own_redis)
    if fault == "hung":  # it may still carry out what it was sent
        await assert_nothing_half_written(store, db)
    else:
        assert own_redis.content() == before
    await eventually(lambda: drained(store, OKX_UID))
    assert marks(db) == set()
    for kind in KINDS:
        assert await served_by_redis(store, kind)
    await assert_equal(store)
    assert (await store.save(OKX_UID, "params", {"leverage": 22})).mirrored


@pytest.mark.parametrize("fault", FAULTS)
async def test_users_can_be_registered_linked_and_deleted_meanwhile(
    store: SettingsStore, own_redis: RedisServer, db: Db, fault: str
) -> None:
    fail, recover = FAULTS[fault]
    fail(own_redis)
    registration = await store.register("1000000000000001", "77777")
    assert {s.mirrored for s in registration.settings} == {False}
    await store.link(OKX_UID, "88888")
    recover(own_redis)
    owners = [OKX_UID, "1000000000000001", TELEGRAM_ID, "77777", "88888"]
    await eventually(lambda: drained(store, *owners))
    assert marks(db) == set()
    with own_redis.client() as client:
        assert client.get("user:77777:okx_uid") == "1000000000000001"
        assert client.get("user:88888:okx_uid") == OKX_UID
        assert client.get(f"user:{TELEGRAM_ID}:okx_uid") is None


@pytest.mark.parametrize("fault", SILENT)
async def test_reads_come_from_postgresql_and_from_redis_again_once_it_is_back(
    store: SettingsStore, own_redis: RedisServer, fault: str
) -> None:
    fail, recover = SILENT[fault]
    assert await served_by_redis(store)
    fail(own_redis)
    for identifier in (OKX_UID, TELEGRAM_ID):
        for kind in KINDS:
            found = await store.get(identifier, kind)
            assert found is not None
            assert (found.source, found.version) == ("db", 1)
    with pytest.raises(RedisUnavailable):
        await store.get(OKX_UID, "params", source="redis")
    recover(own_redis)
    await eventually(lambda: served_by_redis(store))
    await assert_equal(store)


@pytest.mark.parametrize("fault", DEAF)
async def test_a_redis_that_refuses_writes_is_passed_over_for_the_version_a_save_returned(
    store: SettingsStore, own_redis: RedisServer, fault: str
) -> None:
    fail, recover = DEAF[fault]
    fail(own_redis)
    saved = await store.save(OKX_UID, "params", {"leverage": 20})
    found = await store.get(OKX_UID, "params", min_version=saved.version)
    assert found is not None
    assert (found.source, found.settings) == ("db", {"leverage": 20})
    assert await served_by_redis(store, "dual_side")
    recover(own_redis)
    found = await store.get(OKX_UID, "params", min_version=saved.version)
    assert found is not None
    assert await served_by_redis(store)
    await assert_equal(store)


async def test_a_redis_that_is_loading_is_left_alone(store: SettingsStore, own_redis: RedisServer, db: Db) -> None:
    own_redis.fill()
    own_redis.stop()
    own_redis.start_loading()
    saved = await store.save(OKX_UID, "params", {"leverage": 20})
    both = await store.save_all(OKX_UID, {"dual_side": {"use_dual_sl": True}, "preferences": {"symbol": "X"}})
    assert [s.mirrored for s in (saved, *both)] == [False] * 3
    found = await store.get(OKX_UID, "params")
    assert found is not None
    assert (found.source, found.version) == ("db", 2)
    own_redis.finish_loading()
    await eventually(lambda: drained(store, OKX_UID))
    assert marks(db) == set()
    assert await served_by_redis(store)
    await assert_equal(store)


async def test_a_hung_redis_costs_one_timeout_and_not_one_a_read(store: SettingsStore, own_redis: RedisServer) -> None:
    assert await served_by_redis(store)
    own_redis.pause()
    started = time.monotonic()
    assert not await served_by_redis(store)
    first = time.monotonic() - started
    for _ in range(100):
        assert not await served_by_redis(store)
    following = time.monotonic() - started - first
    # The timeout is 1 s; each of the 100 waiting would be 100 s.
    assert first < 5
    assert following < 50


async def test_reads_at_the_same_time_wait_for_a_hung_redis_together(
    store: SettingsStore, own_redis: RedisServer
) -> None:
    own_redis.pause()
    started = time.monotonic()
    found = await asyncio.gather(*(store.get(OKX_UID, KINDS[n % 3]) for n in range(200)))
    assert {setting.source for setting in found if setting} == {"db"}
    assert len(found) == 200
    assert time.monotonic() - started < 15


async def test_a_read_given_up_while_redis_hung_leaves_no_answer_for_the_next_one(
    store: SettingsStore, own_redis: RedisServer
) -> None:
    await store.register("1000000000000001", documents={"params": {"leverage": 99}})
    for _ in range(5):
        await eventually(lambda: served_by_redis(store))
        own_redis.pause()
        given_up = asyncio.create_task(store.get("1000000000000001", "params", source="redis"))
        for _ in range(10):
            await asyncio.sleep(0)  # let it send its command
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        own_redis.resume()
        found = await asyncio.gather(*(store.get(OKX_UID, "params") for _ in range(20)))
        assert {(setting.okx_uid, setting.settings["leverage"]) for setting in found if setting} == {(OKX_UID, 10)}


async def test_the_relay_tells_when_it_goes_on(
    store: SettingsStore, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "store.relay")

    async def told(text: str) -> bool:
        return text in caplog.text

    one = relay.Relay(store._connections)
    running = asyncio.create_task(one.run())
    for leverage, fault in enumerate(("down", "full"), start=20):
        fail, recover = FAULTS[fault]
        caplog.clear()
        fail(own_redis)
        await store.save(OKX_UID, "params", {"leverage": leverage})
        await eventually(lambda: told("trying again"))
        assert not await told("going on")
        recover(own_redis)
        await eventually(lambda: told("going on after"))
    one.stopping.set()
    await running


async def test_a_flushed_redis_is_filled_by_reads(store: SettingsStore, own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.flushall()
    assert not await served_by_redis(store, KINDS[0])
    for kind in KINDS:  # the first read brought all of the user's keys
        assert await served_by_redis(store, kind)
    await assert_equal(store)


async def test_a_read_after_a_flush_still_says_whose_settings_they_are(
    store: SettingsStore, own_redis: RedisServer
) -> None:
    with own_redis.client() as client:
        client.flushall()
    for _ in range(2):
        found = await store.get(TELEGRAM_ID, "params")
        assert found is not None
        assert (found.okx_uid, found.telegram_id) == (OKX_UID, TELEGRAM_ID)
        found = await store.get(OKX_UID, "params")
        assert found is not None
        assert (found.okx_uid, found.telegram_id) == (OKX_UID, TELEGRAM_ID)


async def test_a_redis_that_lost_its_newest_write_is_filled_by_a_read_that_asks_for_it(
    store: SettingsStore, own_redis: RedisServer
) -> None:
    with own_redis.client() as client:
        old = own_redis.content()
        saved = await store.save(OKX_UID, "params", {"leverage": 20})
        client.flushall()
        for key, value in old.items():
            client.restore(key, 0, value)
    found = await store.get(OKX_UID, "params", min_version=saved.version)
    assert found is not None
    assert (found.source, found.version) == ("db", saved.version)
    assert await served_by_redis(store)
    await assert_equal(store)
