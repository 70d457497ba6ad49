"""An erasure and whatever else is under way: nothing of the person comes back, in either store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Config, RedisUnavailable, SettingsStore, UnknownUser, calls
from store.models import MirrorEntry
from store.relay import Relay, drain, mirror, reconcile
from store.sync import Sync
from store.verify import verify
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import RedisServer, eventually

Db = psycopg.Connection[dict[str, Any]]

EARLIER = "424242"
OTHER = "1000000000000002"
VALUE = "an-unmistakable-value"
TABLES = ("app_users", "user_settings", "telegram_links", "mirror_pending")


@pytest.fixture
def redis(own_redis: RedisServer, store: SettingsStore) -> Iterator[redis_py.Redis]:
    with own_redis.client() as client:
        yield client


@pytest.fixture
async def person(store: SettingsStore, db: Db) -> str:
    """The user with a history and an earlier Telegram ID, all of it in Redis."""
    await store.link(OKX_UID, EARLIER)
    await store.link(OKX_UID, TELEGRAM_ID)
    await store.patch(OKX_UID, "params", {"leverage": 77, "note": VALUE})
    await store.patch(OKX_UID, "preferences", {"note": VALUE})
    await Relay(store.stores).once()
    await store.stores.marks.clear()
    assert not marks(db)
    return OKX_UID


@pytest.fixture
async def late(config: Config) -> AsyncIterator[SettingsStore]:
    """Another process's store."""
    async with SettingsStore(config) as opened:
        yield opened


def marks(db: Db) -> list[dict[str, Any]]:
    return db.execute("select owner, kind, version, erased from mirror_pending order by 1, 2").fetchall()


def rows(db: Db) -> str:
    return "\n".join(str(db.execute(f"select t::text from {table} t").fetchall()) for table in TABLES)


def content(redis: redis_py.Redis) -> dict[str, Any]:
    """Everything in Redis but the relay's own marks."""
    found: dict[str, Any] = {}
    for key in redis.scan_iter():
        if not str(key).startswith("settings:"):
            found[str(key)] = redis.hgetall(key) if redis.type(key) == "hash" else redis.dump(key)
    return found


def assert_gone(db: Db, redis: redis_py.Redis) -> None:
    """Nothing in PostgreSQL; in Redis version numbers, for an hour at most."""
    assert not marks(db)
    left = rows(db)
    assert [word for word in (OKX_UID, TELEGRAM_ID, EARLIER, VALUE) if word in left] == []
    for key, fields in content(redis).items():
        assert key in {f"user:{owner}:mirror" for owner in (OKX_UID, TELEGRAM_ID, EARLIER)}
        assert 0 < int(str(redis.ttl(key))) <= 3600
        for name, value in fields.items():
            what = name.partition(":")[2]
            assert what == "updated_at" or (what == "digest" and value == "") or (what == "" and value.isdecimal())
    assert VALUE not in str(content(redis))


async def assert_fresh(store: SettingsStore, db: Db, redis: redis_py.Redis) -> None:
    """The person registered anew: version 1 of the defaults on both sides, nothing else, to stay."""
    report = await verify(store.stores)
    assert not report.findings, report.users
    assert VALUE not in rows(db)
    assert VALUE not in str(content(redis))
    assert {row["version"] for row in db.execute("select version from user_settings").fetchall()} == {1}
    found = await store.get(OKX_UID, "params", source="redis")
    assert found is not None
    assert (found.version, found.settings["leverage"], found.telegram_id) == (1, 10, TELEGRAM_ID)
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OKX_UID
    assert redis.ttl(f"user:{OKX_UID}:mirror") == redis.ttl(f"user:{TELEGRAM_ID}:mirror") == -1
    assert not marks(db)


async def state(store: SettingsStore) -> list[MirrorEntry]:
    """What a relay, a refill or a save has in hand that has read just now."""
    found = await store.stores.database.fetch(calls.mirror_source([OKX_UID, TELEGRAM_ID, EARLIER]))
    return [MirrorEntry(**row) for row in found]


# -- what is left


async def test_an_erasure_leaves_version_numbers_in_redis_and_they_expire(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    receipt = await store.erase_user(person)
    assert (receipt.settings, receipt.telegram_links, receipt.mirrored) == (3, 2, True)
    assert_gone(db, redis)
    assert redis.ttl(f"user:{person}:mirror") > 3000
    assert not (await verify(store.stores)).findings
    assert await store.get_all(TELEGRAM_ID, source="redis") == []
    with pytest.raises(UnknownUser):
        await store.get(person, "params")
    with pytest.raises(UnknownUser):
        await store.erase_user(person)


async def test_a_deleted_user_is_erased(store: SettingsStore, person: str, db: Db, redis: redis_py.Redis) -> None:
    await store.delete_user(person)
    await store.erase_user(person)
    assert_gone(db, redis)


async def test_an_erasure_from_psql_is_pending_until_a_relay_comes(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    assert {mark["erased"] for mark in marks(db)} == {True}
    assert set((await verify(store.stores)).findings) == {"pending"}
    relays = [Relay(store.stores, poll=0.001) for _ in range(2)]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]

    async def cleared() -> bool:
        return not marks(db)

    await eventually(cleared)
    for relay in relays:
        relay.stopping.set()
    await asyncio.gather(*tasks)
    assert_gone(db, redis)
    assert not (await verify(store.stores)).findings


async def test_a_repair_instead_of_a_relay_erases_too(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    assert (await verify(store.stores, repair=True)).remaining == 0
    await drain(store.stores)
    assert_gone(db, redis)


async def test_a_relay_killed_in_between_leaves_marks_for_the_next(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    await store.stores.mirror.apply((await state(store))[:3])  # and no mark cleared
    assert len(marks(db)) == 7
    assert {finding.finding for finding in (await verify(store.stores)).users} <= {"pending"}
    await drain(store.stores)
    assert_gone(db, redis)


async def test_while_redis_is_down_the_marks_stay(
    store: SettingsStore, person: str, db: Db, own_redis: RedisServer
) -> None:
    with own_redis.client() as client:
        client.save()
    own_redis.stop()
    receipt = await store.erase_user(person)
    assert not receipt.mirrored
    assert len(marks(db)) == 7
    own_redis.start()

    async def reached() -> bool:
        try:
            await Relay(store.stores).once()
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
    await reconcile(store.stores)
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
        redis.hset(key, mapping={"note": VALUE, "params": VALUE, "params:digest": VALUE})
    else:
        redis.delete(key)
        redis.rpush(key, VALUE) if kind == "list" else redis.set(key, VALUE)
    await store.erase_user(person)
    assert_gone(db, redis)


# -- what comes too late


async def test_a_read_from_before_that_is_applied_after_brings_nothing_back(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    entries = await state(late)
    await store.erase_user(person)
    await mirror(late.stores, entries)
    assert_gone(db, redis)


async def test_a_save_committed_before_that_reaches_redis_after_brings_nothing_back(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 78}')", (person,))
    entries = await state(late)
    assert max(entry.version for entry in entries) == 3
    await store.erase_user(person)
    results = await mirror(late.stores, entries)
    assert not any(result.is_current for result in results)
    assert_gone(db, redis)


async def test_an_open_transaction_of_before_gets_unknown_user_and_writes_nothing(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis, database_url: str
) -> None:
    """Python's writers, waiting for the rows of an erasure that psql has under way."""
    with psycopg.connect(database_url) as eraser:
        eraser.execute("select from erase_user(%s)", (person,))
        writes = [
            asyncio.ensure_future(write)
            for write in (
                store.patch(person, "params", {"leverage": 5}),
                store.delete(TELEGRAM_ID, "params"),
                store.link(person, "88888"),
                store.erase_user(person),
            )
        ]

        async def all_wait() -> bool:
            waiting = db.execute(
                "select count(*) as n from pg_stat_activity"
                " where datname = current_database() and wait_event_type = 'Lock'"
            ).fetchone()
            return waiting == {"n": len(writes)}

        await eventually(all_wait)
        eraser.commit()
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnknownUser] * len(writes)
    await drain(store.stores)
    assert_gone(db, redis)


async def test_a_refill_that_read_just_before_brings_nothing_back(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    """A get() that missed: it has read, another erases, it writes."""
    entries = await state(late)
    redis.delete(f"user:{person}:settings")
    await store.erase_user(person)
    await late.stores.mirror.apply(entries)  # as Documents._refill() does
    assert_gone(db, redis)
    assert await late.get_all(person, source="redis") == []


async def test_gets_and_saves_at_the_same_time_bring_nothing_back(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    running = asyncio.create_task((relay := Relay(late.stores, poll=0.001)).run())

    async def busy(n: int) -> None:
        while True:
            try:
                redis.delete(f"user:{person}:preferences")
                await late.get(person, "preferences")
                await late.patch(person, "params", {"n": n, "note": VALUE})
            except UnknownUser:
                return

    tasks = [asyncio.create_task(busy(n)) for n in range(4)]

    async def under_way() -> bool:
        row = db.execute("select max(version) as n from user_settings").fetchone()
        return row is not None and row["n"] > 20

    await eventually(under_way)
    await store.erase_user(person)
    await asyncio.gather(*tasks)
    relay.stopping.set()
    await running
    await late.stores.marks.clear()
    assert_gone(db, redis)


@pytest.mark.parametrize("reader", ["sync", "sync of one", "register", "repair"])
async def test_who_has_seen_redis_before_makes_nobody_anew(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis, reader: str
) -> None:
    """Until the relay comes, Redis has everything, and PostgreSQL knows nobody."""
    db.execute("select from erase_user(%s)", (person,))
    if reader == "repair":
        await verify(late.stores, repair=True)
    elif reader == "register":
        await Sync(late.stores).take_over(person)
    else:
        await Sync(late.stores, okx_uid=person if reader == "sync of one" else None).run()
    for table in ("app_users", "user_settings", "telegram_links"):
        assert db.execute(f"select from {table}").fetchall() == []
    await drain(store.stores)
    assert_gone(db, redis)


# -- the same person again


@pytest.mark.parametrize("is_relayed", [True, False], ids=["after the relay", "before the relay"])
async def test_a_person_registered_again_starts_from_scratch_on_both_sides(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis, is_relayed: bool
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    if is_relayed:
        await Relay(late.stores).once()
    await store.register(person, TELEGRAM_ID)
    await drain(store.stores)
    await store.stores.marks.clear()
    await assert_fresh(store, db, redis)
    assert (await store.patch(person, "params", {"leverage": 3})).mirrored
    await drain(store.stores)
    assert not (await verify(store.stores)).findings


async def test_a_person_registered_again_in_psql_starts_from_scratch(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    await drain(store.stores)
    db.execute("select from register_user(%s, %s)", (person, TELEGRAM_ID))
    assert set((await verify(store.stores)).findings) <= {"pending", "ahead"}
    await drain(store.stores)
    await assert_fresh(store, db, redis)


@pytest.mark.parametrize("of", ["before the erasure", "the erasure"])
async def test_a_read_of_an_earlier_life_changes_nothing_of_the_new_one(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis, of: str
) -> None:
    """A relay or a save that read, then hung while the person was erased and registered again."""
    if of == "the erasure":
        db.execute("select from erase_user(%s)", (person,))
    entries = await state(late)
    assert {entry.is_erased for entry in entries} == {of == "the erasure"}
    await store.erase_user(person) if of == "before the erasure" else await drain(store.stores)
    await store.register(person, TELEGRAM_ID)
    await drain(store.stores)
    await mirror(late.stores, entries)
    await drain(store.stores)
    await assert_fresh(store, db, redis)


async def test_a_version_of_an_earlier_life_is_not_taken_for_the_same_of_the_new_one(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    entries = await state(late)  # params: version 2
    await store.erase_user(person)
    await store.register(person, TELEGRAM_ID)
    await store.patch(person, "params", {"leverage": 5})  # version 2, too
    await mirror(late.stores, entries)
    await late.stores.mirror.apply(entries)
    found = await store.get(person, "params", source="redis")
    assert found is not None
    assert (found.version, found.settings["leverage"]) == (2, 5)
    assert VALUE not in rows(db) + str(content(redis))
    await drain(store.stores)
    assert not (await verify(store.stores)).findings


async def test_an_erasure_of_the_new_life_too_leaves_nothing(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    for _ in range(2):
        await store.erase_user(person)
        await store.register(person, TELEGRAM_ID)
        await store.patch(person, "params", {"note": VALUE})
    await store.erase_user(person)
    assert_gone(db, redis)


@pytest.mark.parametrize("is_relayed", [True, False], ids=["after the relay", "before the relay"])
async def test_another_user_takes_over_the_freed_telegram_id(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis, is_relayed: bool
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    if is_relayed:
        await drain(store.stores)
    await store.register(OTHER, TELEGRAM_ID)
    await drain(store.stores)
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OTHER
    assert redis.ttl(f"user:{TELEGRAM_ID}:mirror") == -1
    assert not (await verify(store.stores)).findings
    assert person not in rows(db)
    assert VALUE not in rows(db) + str(content(redis))
    found = await store.get(TELEGRAM_ID, "params", source="redis")
    assert found is not None
    assert found.okx_uid == OTHER


async def test_who_is_erased_while_a_sync_has_read_ahead_stays_gone(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    """The relay is done with the erasure before the sync comes to what it read, and no mark tells of it any more."""
    sync = Sync(late.stores)
    await sync._writing.acquire()  # as if an earlier batch were being taken over
    running = asyncio.create_task(sync.take_over(person))

    async def has_read() -> bool:
        return bool(sync._writing._waiters)

    await eventually(has_read)
    await store.erase_user(person)
    await drain(store.stores)
    assert_gone(db, redis)
    sync._writing.release()
    await running
    await drain(store.stores)
    assert_gone(db, redis)
