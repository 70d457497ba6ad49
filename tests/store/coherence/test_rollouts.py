"""The relay carries rollouts on, whatever becomes of it, and of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from store import SettingsStore
from store.coherence import rollouts
from store.coherence.relay import Relay
from tests.helpers.sessions import Connection, fetch, value
from tests.sql.rollouts.conftest import crowd, look_again, trade
from tests.store.coherence.test_relay import eventually

GIVEN = "select count(*) from user_settings where is_active and settings ->> 'leverage' = '3'"


@pytest.fixture
async def relay(store: SettingsStore) -> AsyncIterator[Relay]:
    """A relay that runs."""
    running = Relay(store._connections, poll=0.005)
    task = asyncio.create_task(running.run())
    yield running
    running.stopping.set()
    await asyncio.wait_for(task, 10)


@pytest.fixture
def begun(db: Connection) -> int:
    """A rollout of which the first fifty users have it; how many shall."""
    crowd(db, 200)
    fetch(db, "select begin_rollout('first', 'careful', 'params', '{90}')")
    wanted: int = value(db, "select count(*) from rollout_users where bucket < 9000")
    assert value(db, GIVEN) == 50 < wanted < 200
    return wanted


async def test_a_relay_carries_a_step_on_and_brings_it_to_redis(
    store: SettingsStore, db: Connection, begun: int, relay: Relay
) -> None:
    async def arrived() -> bool:
        is_there = [await store.get(str(10**15 + n), "params", source="redis") for n in range(1, 201)]
        return len([one for one in is_there if one and one.settings["leverage"] == 3]) == begun

    await eventually(arrived)
    assert value(db, "select written_by from user_settings where change_reason = 'rollout first' limit 1")


async def test_a_relay_pauses_what_is_worse(store: SettingsStore, db: Connection, relay: Relay) -> None:
    crowd(db, 100)
    fetch(db, "select begin_rollout('first', 'careful', 'params', '{50}')")

    async def is_given() -> bool:
        return bool(value(db, "select given_at is not null from rollouts"))

    await eventually(is_given)
    trade(db, -9.0, 5)

    async def is_paused() -> bool:
        look_again(db)  # the relay may have set the next look just before the trades
        return bool(value(db, "select state = 'paused' from rollouts"))

    await eventually(is_paused)


async def test_once_carries_on_what_is_left(store: SettingsStore, db: Connection, begun: int) -> None:
    await Relay(store._connections).once()
    assert value(db, GIVEN) == begun
    assert value(db, "select count(*) from mirror_pending") == 0


async def test_killed_in_the_middle_of_a_step_the_next_one_goes_on(
    store: SettingsStore, db: Connection, connect: Callable[[], Connection], begun: int
) -> None:
    """In the middle of a turn, too: its users have it, or wait as before."""
    victim = connect()
    victim.execute("begin")
    fetch(victim, "select * from watch_rollouts()")
    victim.close()
    assert value(db, GIVEN) == 50
    asked = 0

    def until_killed() -> bool:
        nonlocal asked
        asked += 1
        return asked < 2

    await rollouts.watch(store._connections, until_killed)
    assert value(db, GIVEN) == 100
    await rollouts.watch(store._connections)
    assert value(db, GIVEN) == begun
    assert value(db, "select max(version) from user_settings where settings ->> 'leverage' = '3'") == 2


async def test_rollouts_that_cannot_be_watched_keep_nothing_from_redis(
    store: SettingsStore, db: Connection, user: str, relay: Relay
) -> None:
    fetch(db, "drop function watch_rollouts")
    fetch(db, "select upsert_user_setting(%s, 'params', '{\"leverage\": 9}')", (user,))
    fetch(db, "select retry_pending()")

    async def arrived() -> bool:
        setting = await store.get(user, "params", source="redis")
        return setting is not None and setting.version == 2 and "rollouts" in relay._states

    await eventually(arrived)


async def test_a_database_that_takes_no_writes_only_makes_rollouts_wait(
    store: SettingsStore, db: Connection, begun: int
) -> None:
    name = value(db, "select current_database()")
    fetch(db, f'alter database "{name}" set default_transaction_read_only = on')
    try:
        async with SettingsStore(store.config) as fresh:
            problem = await rollouts.watch(fresh._connections)
    finally:
        fetch(db, f'alter database "{name}" reset default_transaction_read_only')
    assert problem is None or "read-only" in problem
    await rollouts.watch(store._connections)
    assert value(db, GIVEN) == begun
