"""Changes are told with what was there before, by whom and why, in order and none left out, to every handler."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import (
    BadIdentifier,
    Change,
    Config,
    DatabaseUnavailable,
    InvalidArgument,
    RedisUnavailable,
    SettingChange,
    SettingsStore,
    StoreError,
    UnknownSettingType,
    UnknownUser,
)
from tests.faults.servers import eventually

Db = psycopg.Connection[dict[str, Any]]
OTHER = "587662504768345930"
SYMBOL = "BTC-USDT-SWAP"


class Told:
    """A handler that remembers."""

    def __init__(self) -> None:
        self.changes: list[SettingChange] = []
        self._more = asyncio.Event()

    def __call__(self, change: SettingChange) -> None:
        self.changes.append(change)
        self._more.set()

    async def later(self, change: SettingChange) -> None:
        await asyncio.sleep(0)
        self(change)

    async def of(self, number: int) -> list[SettingChange]:
        async with asyncio.timeout(60):
            while len(self.changes) < number:
                self._more.clear()
                await self._more.wait()
        return self.changes


async def test_a_handler_is_told_what_was_there_what_is_who_and_why(store: SettingsStore, user: str) -> None:
    told, later = Told(), Told()
    await store.on_change("params", told)
    await store.on_change("params", later.later)
    before = await store.get(user, "params")
    assert before
    saved = await store.patch(user, "params", {"leverage": 20, "mine": 1}, actor="ops", reason="less risk")
    await store.patch(user, "preferences", {"timeframe": "5m"})
    await store.patch(user, "params", {"mine": True}, actor="bot")
    first, second = await told.of(2)
    assert (first.okx_uid, first.setting_type, first.version) == (user, "params", 2)
    assert (first.old, first.new, first.changed_keys) == (before.settings, saved.settings, ["leverage", "mine"])
    assert (first.changed_by, first.change_reason, first.saved_at) == ("ops", "less risk", saved.updated_at)
    assert first.written_by
    assert (second.version, second.old, second.changed_keys) == (3, first.new, ["mine"])  # 1 isn't true
    assert (second.changed_by, second.change_reason) == ("bot", None)
    assert await later.of(2) == [first, second]


async def test_a_handler_hears_of_what_it_asked_for(store: SettingsStore, user: str) -> None:
    await store.register(OTHER)
    everything, own, of_symbol, dual_side = Told(), Told(), Told(), Told()
    await store.on_change(None, everything)
    await store.on_change(None, own, identifier=user)
    await store.on_change("dual_side", of_symbol, symbol=SYMBOL)
    await store.on_change("dual_side", dual_side)
    await store.patch(OTHER, "params", {"leverage": 7})
    await store.patch(user, "dual_side", {"use_dual_sl": True})
    await store.patch(user, "dual_side", {"use_dual_sl": True, "mine": 1}, symbol=SYMBOL)
    await store.patch(user, "preferences", {"mine": 1})
    found = [(change.okx_uid, change.setting_type) for change in await everything.of(4)]
    name = f"dual_side:{SYMBOL}"
    assert found == [(OTHER, "params"), (user, "dual_side"), (user, name), (user, "preferences")]
    assert [change.setting_type for change in await own.of(3)] == ["dual_side", name, "preferences"]
    assert [(change.symbol, change.old) for change in await of_symbol.of(1)] == [(SYMBOL, None)]
    assert [change.symbol for change in await dual_side.of(2)] == [None, SYMBOL]


async def test_a_handler_that_fails_is_logged_and_stops_neither_itself_nor_others(
    store: SettingsStore, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()

    def fail(change: SettingChange) -> None:
        raise LookupError("mine")

    async def give_up(change: SettingChange) -> None:
        raise asyncio.CancelledError

    for handler in (fail, give_up, told):
        await store.on_change("params", handler)
    with caplog.at_level(logging.ERROR, "store.watching"):
        for leverage in (2, 3):
            await store.patch(user, "params", {"leverage": leverage})
        await told.of(2)

        async def logged() -> bool:
            return len(caplog.records) == 4

        await eventually(logged)
    message = f"a handler failed at params of user {user}, version"
    assert {record.message for record in caplog.records} == {f"{message} 2", f"{message} 3"}
    assert {record.exc_info[0] for record in caplog.records if record.exc_info} == {LookupError, asyncio.CancelledError}


async def test_every_version_is_told_in_order_also_those_of_a_lost_connection(
    store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    told = Told()
    await store.on_change("params", told)
    for n in range(5):
        await store.patch(user, "params", {"mine": n})
    await told.of(5)
    redis.client_kill_filter(_type="pubsub")
    for n in range(5, 10):
        await store.patch(user, "params", {"mine": n})  # while nobody listens
    changes = await told.of(10)
    assert [change.version for change in changes] == list(range(2, 12))
    assert [change.new["mine"] for change in changes if change.new] == list(range(10))
    assert [change.old for change in changes[1:]] == [change.new for change in changes[:-1]]


async def test_watch_yields_values_and_numbers(store: SettingsStore, user: str, redis: redis_py.Redis) -> None:
    async with aclosing(store.watch(user)) as numbers, aclosing(store.watch(user, values=True)) as values:
        waiting = [asyncio.ensure_future(anext(numbers)), asyncio.ensure_future(anext(values))]

        async def subscribed() -> bool:
            return bool(redis.pubsub_numsub("settings:changes")[0][1] == 2)

        await eventually(subscribed)

        async def seen() -> bool:
            await store.patch(user, "params", {"mine": asyncio.get_running_loop().time()})
            return all(each.done() for each in waiting)

        await eventually(seen)
        assert type(waiting[0].result()) is Change
        change = waiting[1].result()
        assert isinstance(change, SettingChange)
        assert change.changed_keys == ["mine"]


async def test_a_document_that_goes_and_comes_is_told(store: SettingsStore, user: str) -> None:
    told = Told()
    await store.on_change("preferences", told)
    document = (await store.patch(user, "preferences", {"mine": 1})).settings
    await store.delete(user, "preferences", reason="enough")
    await store.restore(user, "preferences")
    await told.of(3)  # what isn't told yet of an erased person is told as gone
    await store.erase_user(user)
    changed, deleted, restored, erased = await told.of(4)
    assert (deleted.old, deleted.new, deleted.changed_keys) == (document, None, sorted(document))
    assert deleted.change_reason == "enough"
    assert (restored.old, restored.new) == (None, document)
    assert changed.new == document
    assert (erased.old, erased.new, erased.changed_keys, erased.changed_by) == (None, None, None, None)


async def test_of_what_was_pruned_nothing_is_told(store: SettingsStore, user: str) -> None:
    for n in range(4):
        await store.patch(user, "params", {"mine": n})
    assert await store.prune(2, timedelta(0), identifier=user)
    found = [change async for change in store._from_history(Change(user, "params", 5), 1)]
    assert [(change.version, change.changed_keys) for change in found] == [(4, None), (5, ["mine"])]
    assert found[0].old is None


async def test_a_change_waits_for_postgresql(
    store: SettingsStore, user: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told, fetch, failures = Told(), store._fetch, 0

    async def fail(call: Any) -> Any:
        nonlocal failures
        if "user_setting_version" in call.query and failures < 2:
            failures += 1
            raise DatabaseUnavailable("away")
        return await fetch(call)

    await store.on_change("params", told)
    monkeypatch.setattr(store, "_fetch", fail)
    await store.patch(user, "params", {"mine": 1})
    assert [change.version for change in await told.of(1)] == [2]
    assert failures == 2
    assert f"the change of params of user {user}, version 2 waits: away" in caplog.text


async def test_who_is_unregistered_hears_no_more(store: SettingsStore, user: str) -> None:
    told, once = Told(), Told()

    async def only_once(change: SettingChange) -> None:
        once(change)
        assert await store.off_change(only_once) == 1

    for handler in (only_once, told, told.later):
        await store.on_change("params", handler)
    assert await store.off_change(told.later) == 1
    assert await store.off_change(told.later) == 0
    for n in range(3):
        await store.patch(user, "params", {"mine": n})
    assert [change.version for change in await told.of(3)] == [2, 3, 4]
    assert [change.version for change in await once.of(1)] == [2]
    assert len(store._listeners) == 1


async def test_the_end_of_the_store_ends_its_handlers(config: Config, user: str) -> None:
    told, began, ended = Told(), asyncio.Event(), asyncio.Event()
    store = await SettingsStore(config).open()

    async def hang(change: SettingChange) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    for handler in (told, hang):
        await store.on_change("params", handler)
    tasks = set(store._listeners)
    await store.patch(user, "params", {"mine": 1})
    await told.of(1)
    await began.wait()
    await store.close()
    assert ended.is_set()
    assert all(task.done() for task in tasks)
    async with await store.open():
        await store.patch(user, "params", {"mine": 2})
        assert store._listeners == {}
    assert len(told.changes) == 1


async def test_a_handler_may_close_the_store(config: Config, user: str) -> None:
    store, closed = await SettingsStore(config).open(), asyncio.Event()

    async def close(change: SettingChange) -> None:
        await store.close()
        closed.set()

    await store.on_change("params", close)
    (task,) = store._listeners
    async with SettingsStore(config) as other:
        await other.patch(user, "params", {"mine": 1})
        async with asyncio.timeout(60):
            await closed.wait()
            await asyncio.wait([task])
    assert not task.cancelled()


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("nonsense", print), {}, UnknownSettingType),
        (("params", None), {}, InvalidArgument),
        (("params", print), {"symbol": SYMBOL}, InvalidArgument),
        ((None, print), {"symbol": SYMBOL}, InvalidArgument),
        (("params", print), {"identifier": OTHER}, UnknownUser),
        (("params", print), {"identifier": 7}, BadIdentifier),
    ],
)
async def test_what_cant_be_listened_to_is_refused(
    store: SettingsStore, arguments: Any, options: Any, error: type[StoreError]
) -> None:
    with pytest.raises(error):
        await store.on_change(*arguments, **options)
    assert store._listeners == {}


async def test_without_redis_to_begin_with_nobody_listens(config: Config, user: str) -> None:
    async with SettingsStore(replace(config, redis_url="redis://127.0.0.1:1")) as store:
        with pytest.raises(RedisUnavailable):
            await store.on_change("params", Told())
        assert store._listeners == {}
    with pytest.raises(StoreError, match="not open"):
        await store.on_change("params", Told())
