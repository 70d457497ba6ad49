"""What was read or begun before an erasure and comes after it brings nothing of the person back."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import SettingsStore, UnknownUser
from store.coherence.mirroring import mirror
from store.coherence.relay import Relay, drain
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.models import BUILT_IN_TYPES, Erasure
from tests.conftest import TELEGRAM_ID
from tests.faults.erasure.conftest import VALUE, Db, assert_gone, state
from tests.faults.servers import eventually


async def test_a_read_from_before_that_is_applied_after_brings_nothing_back(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    entries = await state(late)
    await store.erase_user(person)
    await mirror(late._connections, entries)
    assert_gone(db, redis)


async def test_a_read_that_fills_redis_again_leaves_to_the_relay_what_is_of_every_symbol(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    """The document was read before the erasure, what is to be in Redis after it; the relay comes last."""
    found = await late.get(person, "preferences", source="db")
    assert found is not None
    db.execute("select from erase_user(%s)", (person,))
    await late._refill([found], BUILT_IN_TYPES["preferences"])
    await drain(store._connections)
    assert_gone(db, redis)


async def test_redis_is_not_said_to_be_clear_of_what_another_erasure_has_marked_anew(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's clock was set back, so the erasure looks older than what Redis has; and before it is told to come
    nevertheless, somebody erases the person again."""
    redis.hset(f"user:{person}:mirror", "params:updated_at", "2999-01-01T00:00:00+00:00")
    inspect = store._connections.mirror.inspect

    async def erased_again(places: Any) -> Any:
        db.execute("select from erase_unknown(%s)", ([person],))
        monkeypatch.undo()
        return await inspect(places)

    monkeypatch.setattr(store._connections.mirror, "inspect", erased_again)
    assert not (await store.erase_user(person)).mirrored
    assert redis.exists(f"user:{person}:settings")
    await drain(store._connections)
    assert_gone(db, redis)


async def test_a_save_committed_before_that_reaches_redis_after_brings_nothing_back(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 78}')", (person,))
    entries = await state(late)
    assert max(entry.version for entry in entries) == 3
    await store.erase_user(person)
    results = await mirror(late._connections, entries)
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
    *_, erasure = outcomes
    assert [type(outcome) for outcome in outcomes[:-1]] == [UnknownUser] * (len(writes) - 1)
    assert isinstance(erasure, Erasure)  # of somebody who is gone already
    assert not erasure.was_known
    await drain(store._connections)
    assert_gone(db, redis)


async def test_a_refill_that_read_just_before_brings_nothing_back(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    """A get() that missed: it has read, another erases, it writes."""
    entries = await state(late)
    redis.delete(f"user:{person}:settings")
    await store.erase_user(person)
    await late._connections.mirror.apply(entries)  # as Documents._refill() does
    assert_gone(db, redis)
    assert await late.get_all(person, source="redis") == []


async def test_gets_and_saves_at_the_same_time_bring_nothing_back(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    running = asyncio.create_task((relay := Relay(late._connections, poll=0.001)).run())

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
    await late._connections.marks.clear()
    assert_gone(db, redis)


@pytest.mark.parametrize("reader", ["sync", "sync of one", "register", "repair"])
async def test_who_has_seen_redis_before_makes_nobody_anew(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis, reader: str
) -> None:
    """Until the relay comes, Redis has everything, and PostgreSQL knows nobody."""
    db.execute("select from erase_user(%s)", (person,))
    if reader == "repair":
        await verify(late._connections, repair=True)
    elif reader == "register":
        await Sync(late._connections).take_over(person)
    else:
        await Sync(late._connections, okx_uid=person if reader == "sync of one" else None).run()
    for table in ("app_users", "user_settings", "telegram_links"):
        assert db.execute(f"select from {table}").fetchall() == []
    await drain(store._connections)
    assert_gone(db, redis)


async def test_who_is_erased_while_a_sync_has_read_ahead_stays_gone(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    """The relay is done with the erasure before the sync comes to what it read, and no mark tells of it any more."""
    sync = Sync(late._connections)
    await sync._writing.acquire()  # as if an earlier batch were being taken over
    running = asyncio.create_task(sync.take_over(person))

    async def has_read() -> bool:
        return bool(sync._writing._waiters)

    await eventually(has_read)
    await store.erase_user(person)
    await drain(store._connections)
    assert_gone(db, redis)
    sync._writing.release()
    await running
    await drain(store._connections)
    assert_gone(db, redis)
