"""A server that goes back to an earlier state under its name: an old dump loaded in place, commits lost in a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from store import Config, SettingsStore
from store.coherence.epochs import is_reconciled
from store.coherence.relay import Progress, Relay
from store.coherence.verify import verify
from tests.conftest import OKX_UID
from tests.faults.servers import PostgresServer, RedisServer, eventually, gone
from tests.helpers.redis_copies import copy_of, take_over

Db = psycopg.Connection[dict[str, Any]]


@asynccontextmanager
async def relaying(store: SettingsStore) -> AsyncIterator[list[Progress]]:
    """Run a relay; what it tells."""
    told: list[Progress] = []
    one = Relay(store._connections, tell=told.append)
    running = asyncio.create_task(one.run())
    await eventually(lambda: reconciled(told, 1))
    try:
        yield told
    finally:
        one.stopping.set()
        await running


async def reconciled(told: list[Progress], times: int) -> bool:
    return sum(batch.reconciliations for batch in told) >= times


async def leverage(store: SettingsStore) -> int:
    found = await store.get(OKX_UID, "params", source="redis")
    return found.settings["leverage"] if found else 0


async def turned(db: Db, times: int = 2) -> None:
    """Wait until the relay has turned to another epoch so often; one turn may have been under way."""

    async def is_another() -> bool:
        return epoch(db) != before

    for _ in range(times):
        before = epoch(db)
        db.execute("select pg_current_xact_id()")  # something that may have saved
        await eventually(is_another)


def epoch(db: Db) -> str:
    row = db.execute("select epoch from mirror_epochs").fetchone()
    assert row
    return str(row["epoch"])


async def test_a_redis_that_goes_back_in_place_is_noticed(
    config: Config, store: SettingsStore, own_redis: RedisServer, db: Db
) -> None:
    await store.patch(OKX_UID, "params", {"leverage": 2})
    async with relaying(store) as told:
        old = own_redis.content()
        assert any(key.startswith("settings:") for key in old)
        assert (await store.patch(OKX_UID, "params", {"leverage": 3})).mirrored
        await turned(db)
        own_redis.restore(old)
        await eventually(lambda: reconciled(told, 2))
        assert await leverage(store) == 3
        assert await is_reconciled(store._connections)
        await turned(db)
        assert not await reconciled(told, 3)
    assert (await verify(store._connections)).findings == {}
    own_redis.restore(old)  # with nobody there
    assert not await is_reconciled(store._connections)
    await Relay(store._connections).once()
    assert await is_reconciled(store._connections)
    assert await leverage(store) == 3


async def test_a_redis_that_takes_over_the_data_of_another_is_noticed_within_an_epoch(
    store: SettingsStore, own_redis: RedisServer
) -> None:
    """A replica of a moment ago, by which this process takes its data: its run id, and the epoch, stay the same."""
    await store.patch(OKX_UID, "params", {"leverage": 2})
    await Relay(store._connections).once()
    with own_redis.client() as client, copy_of(client) as port:
        assert (await store.patch(OKX_UID, "params", {"leverage": 3})).mirrored
        take_over(client, port)
    assert not await is_reconciled(store._connections)
    await Relay(store._connections).once()
    assert await leverage(store) == 3
    assert await is_reconciled(store._connections)


@pytest.mark.slow  # a turn takes a second
async def test_relays_turn_side_by_side_and_rogues_cost_one_reconciliation(
    config: Config, store: SettingsStore, own_redis: RedisServer, db: Db
) -> None:
    async with SettingsStore(config) as other, relaying(store) as first, relaying(other) as second:
        await turned(db, 4)
        assert await is_reconciled(store._connections)
        assert not await reconciled(first, 2)
        assert not await reconciled(second, 2)
    async with relaying(store) as told:
        with own_redis.client() as client:
            (mark,) = client.keys("settings:*:reconciled")
            for n, rogue in enumerate(("", "x", "9" * 5000, f"{client.get(mark)}9"), start=2):
                client.set(mark, rogue)
                await eventually(lambda: reconciled(told, n))  # noqa: B023
                await eventually(lambda: is_reconciled(store._connections))
            client.delete(mark)
            client.rpush(mark, "x")
            await eventually(lambda: reconciled(told, 6))
            await eventually(lambda: is_reconciled(store._connections))


async def test_a_relay_that_ends_amid_a_turn_leaves_it_to_the_next(store: SettingsStore, db: Db) -> None:
    await Relay(store._connections).once()
    db.execute("select begin_epoch()")
    assert await is_reconciled(store._connections)
    await Relay(store._connections).once()
    row = db.execute("select next_epoch, epoch from mirror_epochs").fetchone()
    assert row
    assert row["next_epoch"] is None
    assert await is_reconciled(store._connections)
    await Relay(store._connections).once()
    assert db.execute("select next_epoch, epoch from mirror_epochs").fetchone() == row  # nothing was saved


async def test_a_database_restored_in_place_is_noticed(store: SettingsStore, db: Db) -> None:
    """What pg_restore --clean puts back of this table, with the rest of the database."""
    await Relay(store._connections).once()
    db.execute("create temporary table dumped as select * from mirror_epochs")
    await store.patch(OKX_UID, "params", {"leverage": 2})
    await Relay(store._connections).once()
    assert await is_reconciled(store._connections)
    for statement in (
        "truncate mirror_epochs",
        "insert into mirror_epochs select * from dumped",
    ):  # also a dump without it
        db.execute(statement)
        assert not await is_reconciled(store._connections)
    await Relay(store._connections).once()
    assert await is_reconciled(store._connections)


@pytest.mark.parametrize("is_running", [False, True])
async def test_commits_that_a_crash_lost_are_looked_for(
    own_postgres: PostgresServer, own_redis: RedisServer, is_running: bool
) -> None:
    url = make_conninfo(own_postgres.url, options="-c synchronous_commit=off")
    config = Config(url, own_redis.url, own_postgres.home, redis_retry_after=0.2, db_timeout=60.0)
    okx_uid = f"100000000000000{int(is_running)}"
    async with SettingsStore(config) as store, SettingsStore(replace(config, database_url=own_postgres.url)) as relays:
        await store.register(okx_uid)
        relay = Relay(relays._connections)
        await relay.once()
        running = asyncio.create_task(relay.run()) if is_running else None
        with psycopg.connect(own_postgres.url, autocommit=True, row_factory=dict_row) as connection:
            connection.execute("checkpoint")
            row = connection.execute("select pid from pg_stat_activity where backend_type = 'walwriter'").fetchone()
        assert row
        writer = psutil.Process(row["pid"])
        writer.suspend()  # who would bring the commit to the disk
        saved = await store.patch(okx_uid, "params", {"leverage": 7})
        assert (saved.version, saved.mirrored) == (2, True)
        writer.kill()
        gone(writer)

        async def answers() -> bool:
            try:
                found = await store.get(okx_uid, "params", source="db")
            except Exception:
                return False
            return found is not None

        await eventually(answers)
        if running is None:
            assert not await is_reconciled(relays._connections)
            await Relay(relays._connections).once()
        await eventually(lambda: is_reconciled(relays._connections))
        assert (await verify(relays._connections)).findings == {}
        found = await store.get(okx_uid, "params", source="redis")
        assert found is not None
        assert found.settings["leverage"] == 10
        leverages = [version.changes and {c.key: c.new for c in version.changes}.get("leverage") for version in
                     await store.history(okx_uid, "params")]  # fmt: skip
        assert 7 in leverages  # as what was found in Redis
        if running is not None:
            relay.stopping.set()
            await running
