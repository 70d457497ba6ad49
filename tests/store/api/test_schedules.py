"""Scheduled changes from Python: kept, done by a relay, mirrored."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from store import (
    InvalidArgument,
    InvalidSettings,
    RedisUnavailable,
    SettingsStore,
    UnknownScheduledChange,
    UnknownUser,
    VersionConflict,
)
from store.coherence.relay import Relay
from store.models import MASK
from tests.faults.servers import eventually
from tests.helpers.schedules import pass_time
from tests.helpers.sessions import Connection

AT = datetime(2099, 12, 1, 13, 25, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def redis_leverage(store: SettingsStore, user: str) -> object:
    found = await store.get(user, "params", source="redis")
    return found and found.settings["leverage"]


async def test_a_relay_does_what_is_due_and_redis_gets_it(store: SettingsStore, user: str, db: Connection) -> None:
    change = await store.schedule_change(
        user, "params", {"leverage": 3}, at=AT, for_=2 * HOUR, actor="ops", reason="news"
    )
    assert (change.state, change.at, change.until, change.users) == ("waiting", AT, AT + 2 * HOUR, 1)
    assert (change.scheduled_by, change.reason, change.patch) == ("ops", "news", {"leverage": 3})
    relays = [Relay(store._connections, poll=0.005) for _ in range(2)]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    for leverage in (3, 10):
        pass_time(db, change.id)

        async def arrived(wanted: int = leverage) -> bool:
            return await redis_leverage(store, user) == wanted

        await eventually(arrived)
    for relay in relays:
        relay.stopping.set()
    await asyncio.gather(*tasks)
    (done,) = await store.list_scheduled_changes(user)
    assert (done.state, done.changed, done.note) == ("done", 1, None)
    assert [version.version for version in await store.history(user, "params")] == [3, 2, 1]


async def test_what_is_due_is_done_while_redis_is_away(
    store: SettingsStore, user: str, db: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    change = await store.schedule_change(user, "params", {"leverage": 3}, at=AT, expected_version=7)
    pass_time(db, change.id)

    async def fails(*_: object) -> bool:
        raise RedisUnavailable("away")

    relay = Relay(store._connections, poll=0.005)
    relay._is_reconciled = fails  # type: ignore[method-assign]
    task = asyncio.create_task(relay.run())

    async def is_over() -> bool:
        return (await store.list_scheduled_changes())[0].state == "failed"

    await eventually(is_over)
    relay.stopping.set()
    await task
    assert "US001: version conflict" in caplog.text


async def test_a_change_for_now_is_in_redis_when_the_call_returns(store: SettingsStore, user: str) -> None:
    other = (await store.register("1000000000000001")).user.okx_uid
    change = await store.schedule_change(user, "params", {"leverage": 3, "signal_bot_token": "t"}, for_=HOUR)
    assert (change.state, change.changed) == ("active", 1)
    assert change.patch == {"leverage": 3, "signal_bot_token": MASK}
    assert await redis_leverage(store, user) == 3
    assert (await store.cancel_scheduled_change(change.id, take_back=True)).state == "cancelled"
    assert await redis_leverage(store, user) == 10
    many = await store.schedule_changes("params", {"leverage": 5}, identifiers=[user, other], for_=HOUR)
    assert (many.okx_uid, many.users, many.changed) == (None, 2, 2)
    assert [await redis_leverage(store, who) for who in (user, other)] == [5, 5]
    with pytest.raises(UnknownScheduledChange):
        await store.cancel_scheduled_change(change.id)


async def test_what_cannot_be_scheduled_raises(store: SettingsStore, user: str) -> None:
    with pytest.raises(InvalidArgument, match="time zone"):
        await store.schedule_change(user, "params", {}, at=datetime(2099, 1, 1))
    with pytest.raises(InvalidArgument, match="timedelta"):
        await store.schedule_change(user, "params", {}, for_="30m")  # type: ignore[arg-type]
    with pytest.raises(InvalidSettings):
        await store.schedule_change(user, "params", {"leverage": 1000}, at=AT)
    with pytest.raises(VersionConflict):
        await store.schedule_change(user, "params", {"leverage": 3}, expected_version=7)
    with pytest.raises(UnknownUser):
        await store.schedule_changes("params", {}, identifiers=["1999999999999999"], at=AT)
    for id in (-1, "7", True, None):
        with pytest.raises(InvalidArgument):
            await store.cancel_scheduled_change(id)  # type: ignore[arg-type]
    assert await store.list_scheduled_changes() == []
