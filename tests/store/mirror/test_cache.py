"""The local cache: a hit asks nobody, and nothing that changes in Redis is missed, whoever changes it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Config, InvalidArgument, Setting, SettingsStore, UnknownSettingType, UnknownUser
from store.models import Source
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually

Db = psycopg.Connection[dict[str, Any]]
Write = Callable[[SettingsStore], Awaitable[object]]
OTHER = "1000000000000001"
DEEP = {"leverage": 7, "symbol_investments": {"BTC": {"max": [1, 2]}}}


@pytest.fixture
async def cached(config: Config, user: str) -> AsyncIterator[SettingsStore]:
    """A store with a cache, on a database with a registered user; `store` is another process's."""
    async with SettingsStore(config, cache=10) as opened:
        yield opened


def reads(redis: redis_py.Redis) -> int:
    """How often Redis was asked so far for a document (GET, HGETALL) or a Telegram ID (GETRANGE)."""
    found: Any = redis.info("commandstats")
    return sum(found.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("get", "getrange", "hgetall"))


async def is_hit(store: SettingsStore, redis: redis_py.Redis, identifier: str = OKX_UID, kind: str = "params") -> bool:
    before = reads(redis)
    await store.get(identifier, kind)
    return reads(redis) == before


async def warm(store: SettingsStore, redis: redis_py.Redis, identifier: str = OKX_UID, kind: str = "params") -> None:
    """Read until it comes from the cache."""
    await eventually(lambda: is_hit(store, redis, identifier, kind))


async def agrees(cached: SettingsStore, store: SettingsStore, identifier: str, kind: str) -> bool:
    """Whether what the cached store says is what Redis says now, or comes from PostgreSQL."""
    try:
        found = await cached.get(identifier, kind)
    except UnknownUser:
        return True
    expected = await store.get(identifier, kind, source="redis")  # which fills nothing again
    return found is None or found.source == "db" or found == expected


async def test_without_a_cache_every_read_asks_redis(store: SettingsStore, user: str, redis: redis_py.Redis) -> None:
    before = reads(redis)
    for _ in range(5):
        await store.get(user, "dual_side")
    assert reads(redis) == before + 5


@pytest.mark.parametrize("identifier", [OKX_UID, TELEGRAM_ID])
async def test_a_hit_asks_nobody_and_answers_the_same(
    cached: SettingsStore, store: SettingsStore, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, identifier: str
) -> None:
    await warm(cached, redis, identifier)
    expected, before = await store.get(identifier, "params"), reads(redis)
    monkeypatch.setattr(cached._connections, "database", None)
    for _ in range(100):
        assert await cached.get(identifier, "params") == expected
    assert reads(redis) == before


async def test_a_hit_does_not_yield_to_the_event_loop(cached: SettingsStore, redis: redis_py.Redis) -> None:
    await warm(cached, redis)
    with pytest.raises(StopIteration) as done:
        cached.get(OKX_UID, "params").send(None)
    assert done.value.value.okx_uid == OKX_UID


async def test_what_a_caller_does_to_a_document_reaches_nobody_else(
    cached: SettingsStore, redis: redis_py.Redis
) -> None:
    await cached.save(OKX_UID, "params", DEEP)
    await warm(cached, redis)
    redis.hset(f"user:{OKX_UID}:mirror", "x", "y")  # so that the next one is read from Redis, and kept
    for _ in range(50):
        found = await cached.get(OKX_UID, "params")
        assert found is not None
        assert found.settings == DEEP
        found.settings["symbol_investments"]["BTC"]["max"].append(3)
        found.settings["symbol_investments"]["ETH"] = 1
        found.settings["new"] = 1
        del found.settings["leverage"]
        await asyncio.sleep(0)


def _rogue(act: Callable[[redis_py.Redis], object]) -> Callable[[SettingsStore, redis_py.Redis], Awaitable[object]]:
    async def change(_: SettingsStore, redis: redis_py.Redis) -> None:
        act(redis)

    return change


PARAMS, MIRROR, LINK = f"user:{OKX_UID}:settings", f"user:{OKX_UID}:mirror", f"user:{TELEGRAM_ID}:okx_uid"
CHANGES: dict[str, Callable[[SettingsStore, redis_py.Redis], Awaitable[object]]] = {
    "a save of another process": lambda store, _: store.save(OKX_UID, "params", {"leverage": 33}),
    "a deletion by another process": lambda store, _: store.delete(OKX_UID, "params"),
    "a deleted user": lambda store, _: store.delete_user(OKX_UID),
    "an erased user": lambda store, _: store.erase_user(OKX_UID),
    "another Telegram ID": lambda store, _: store.link(OKX_UID, "99999"),
    "a rogue write": _rogue(lambda redis: redis.set(PARAMS, '{"leverage": 41}')),
    "a rogue write of no document": _rogue(lambda redis: redis.set(PARAMS, "nonsense")),
    "a key that goes": _rogue(lambda redis: redis.delete(PARAMS)),
    "a key that is renamed": _rogue(lambda redis: redis.rename(PARAMS, "elsewhere")),
    "a key that expires": _rogue(lambda redis: redis.pexpire(PARAMS, 1)),
    "a mirror hash that goes": _rogue(lambda redis: redis.delete(MIRROR)),
    "another version in the mirror hash": _rogue(lambda redis: redis.hset(MIRROR, "params", "7")),
    "a rogue link": _rogue(lambda redis: redis.set(LINK, OTHER)),
    "a flush": _rogue(lambda redis: redis.flushall()),
    "a flush in the background": _rogue(lambda redis: redis.flushdb(asynchronous=True)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("identifier", [OKX_UID, TELEGRAM_ID])
async def test_what_changes_in_redis_is_seen(
    cached: SettingsStore, store: SettingsStore, redis: redis_py.Redis, identifier: str, change: str
) -> None:
    await store.register(OTHER)
    await warm(cached, redis, identifier)
    await warm(cached, redis, identifier, "dual_side")
    await CHANGES[change](store, redis)
    for kind in ("params", "dual_side"):
        await eventually(lambda: agrees(cached, store, identifier, kind))  # noqa: B023


async def _link_back(store: SettingsStore) -> None:
    await store.unlink(OKX_UID)
    await store.link(OKX_UID, TELEGRAM_ID)


async def _delete_and_restore(store: SettingsStore) -> None:
    await store.delete(OKX_UID, "params")
    assert await store.get(OKX_UID, "params") is None
    await store.restore(OKX_UID, "params")


WRITES: dict[str, Write] = {
    "save": lambda store: store.save(OKX_UID, "params", {"leverage": random.randint(1, 100)}),
    "patch": lambda store: store.patch(OKX_UID, "params", {"leverage": random.randint(1, 100)}),
    "save_all": lambda store: store.save_all(OKX_UID, {"params": {"leverage": random.randint(1, 100)}}),
    "delete and restore": _delete_and_restore,
    "rollback": lambda store: store.rollback(OKX_UID, "params", random.randint(1, 2)),
    "apply_template": lambda store: store.apply_template("t", "params", identifiers=[OKX_UID]),
    "delete_user": lambda store: store.delete_user(OKX_UID),
    "restore_user": lambda store: store.restore_user(OKX_UID),
    "unlink and link": _link_back,
}


async def content(store: SettingsStore, identifier: str, source: Source | None) -> Setting | None:
    """What a store answers, whoever served it; None for a user who is gone."""
    try:
        found = await store.get(identifier, "params", source=source)
    except UnknownUser:
        return None
    return None if found is None else replace(found, source="redis")


async def test_own_writes_are_read_back_at_once_also_under_constant_reading(cached: SettingsStore) -> None:
    await cached.save(OKX_UID, "params", DEEP)
    await cached.save_template("t", "params", {"note": "from the template"})
    is_done = asyncio.Event()

    async def keep_reading(identifier: str) -> None:
        while not is_done.is_set():
            with suppress(UnknownUser):
                await cached.get(identifier, "params")
            await asyncio.sleep(0)

    readers = [asyncio.create_task(keep_reading(identifier)) for identifier in (OKX_UID, TELEGRAM_ID) * 3]
    try:
        for _ in range(5):
            for name, write in WRITES.items():
                await write(cached)
                for identifier in (OKX_UID, TELEGRAM_ID):
                    found, expected = [await content(cached, identifier, source) for source in (None, "db")]
                    assert found == expected, name
    finally:
        is_done.set()
        await asyncio.gather(*readers)


async def test_what_was_read_before_a_change_is_not_kept_after_it(
    cached: SettingsStore, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await warm(cached, redis)
    read, cache = cached._connections.mirror.read, cached._cache

    async def is_told(before: object) -> bool:
        return cache.page(OKX_UID) is not before

    async def late(*arguments: Any) -> Any:
        monkeypatch.setattr(cached._connections.mirror, "read", read)
        found = await read(*arguments)
        page = cache.page(OKX_UID)
        redis.set(PARAMS, '{"leverage": 41}')
        await eventually(lambda: is_told(page))
        return found

    cache.forget(None)
    monkeypatch.setattr(cached._connections.mirror, "read", late)
    old, new = await cached.get(OKX_UID, "params"), await cached.get(OKX_UID, "params")
    assert old is not None
    assert new is not None
    assert (old.settings["leverage"], new.settings["leverage"]) == (10, 41)


async def test_the_users_read_last_are_kept(config: Config, store: SettingsStore, redis: redis_py.Redis) -> None:
    users = [f"100000000000000{n}" for n in range(3)]
    for okx_uid in users:
        await store.register(okx_uid)
    async with SettingsStore(config, cache=2) as cached:
        await warm(cached, redis, users[0])
        await warm(cached, redis, users[1])
        assert await is_hit(cached, redis, users[0])
        assert not await is_hit(cached, redis, users[2])
        assert await is_hit(cached, redis, users[0])
        assert await is_hit(cached, redis, users[2])
        assert not await is_hit(cached, redis, users[1])
        assert len(cached._cache._pages) == 2


async def test_a_source_or_a_newer_version_asked_for_passes_the_cache_over(
    cached: SettingsStore, redis: redis_py.Redis, db: Db
) -> None:
    await warm(cached, redis)
    db.execute("select upsert_user_setting(%s, 'params', '{\"leverage\": 9}')", (OKX_UID,))  # nobody mirrors that
    found = [await cached.get(OKX_UID, "params", min_version=1), await cached.get(OKX_UID, "params", source="db")]
    assert [setting and setting.version for setting in found] == [1, 2]
    before = reads(redis)
    await cached.get(OKX_UID, "params", source="redis")
    assert reads(redis) > before
    newer = await cached.get(OKX_UID, "params", min_version=2)
    assert newer is not None
    assert newer.version == 2


@pytest.mark.parametrize("key_template", ["user:{{{id}}}:{suffix}", "{suffix}/{id}", "a*[b]:{id}:{suffix}"])
async def test_any_key_template_is_followed(
    config: Config, user: str, redis: redis_py.Redis, key_template: str
) -> None:
    async with SettingsStore(replace(config, key_template=key_template), cache=10) as cached:
        await cached.get(user, "params")
        await warm(cached, redis)
        redis.set(key_template.format(id=user, suffix="settings"), '{"leverage": 41}')

        async def is_seen() -> bool:
            found = await cached.get(user, "params")
            return found is not None and found.settings == {"leverage": 41}

        await eventually(is_seen)


async def test_a_document_nested_too_deep_to_copy_is_read_from_redis(
    cached: SettingsStore, redis: redis_py.Redis, store: SettingsStore
) -> None:
    await warm(cached, redis)
    redis.set(PARAMS, '{"x": ' + "[" * 900 + "]" * 900 + "}")

    async def is_seen() -> bool:
        found, expected = await cached.get(OKX_UID, "params"), await store.get(OKX_UID, "params")
        return found is not None and expected is not None and found.settings.keys() == expected.settings.keys()

    await eventually(is_seen)
    assert await is_seen()


async def test_closing_ends_the_task_and_the_connection(config: Config, user: str, redis: redis_py.Redis) -> None:
    before = asyncio.all_tasks()
    async with SettingsStore(config, cache=10) as cached:
        await warm(cached, redis)
        assert len(redis.client_list(_type="pubsub")) == 1
    assert asyncio.all_tasks() == before

    async def is_gone() -> bool:
        return redis.client_list(_type="pubsub") == []

    await eventually(is_gone)


@pytest.mark.parametrize("size", [-1, 1.5, "10", True, None])
def test_a_size_that_is_none_is_refused(config: Config, size: Any) -> None:
    with pytest.raises(InvalidArgument, match="cache"):
        SettingsStore(config, cache=size)


@pytest.mark.parametrize("seed", range(8))
async def test_after_any_interleaving_the_cache_says_what_redis_says(
    config: Config, store: SettingsStore, user: str, redis: redis_py.Redis, seed: int
) -> None:
    chance = random.Random(seed)
    users = {user: TELEGRAM_ID, OTHER: "88888"}
    await store.register(OTHER, "88888")
    identifiers = [*users, *users.values()]
    kinds = ("params", "dual_side", "preferences")

    async def act(cached: SettingsStore) -> None:
        okx_uid, kind, number = chance.choice(list(users)), chance.choice(kinds), chance.randint(1, 100)
        writer = chance.choice((cached, store))
        key = f"user:{okx_uid}:{'settings' if kind == 'params' else kind}"
        with suppress(UnknownUser):
            match chance.randrange(12):
                case 0 | 1:
                    await writer.save(okx_uid, kind, {"note": number})
                case 2:
                    await writer.delete(okx_uid, kind)
                case 3:
                    await (writer.unlink(okx_uid) if number % 2 else writer.link(okx_uid, users[okx_uid]))
                case 4:
                    redis.hset(key, "note", number) if kind != "params" else redis.set(key, f'{{"note": {number}}}')
                case 5:
                    redis.delete(chance.choice([key, f"user:{okx_uid}:mirror", f"user:{users[okx_uid]}:okx_uid"]))
                case 6 if number > 80:
                    redis.flushall()
                case _:
                    await cached.get(chance.choice(identifiers), kind)

    async with SettingsStore(config, cache=chance.choice((1, 3, 10))) as cached:
        await warm(cached, redis)
        for _ in range(6):
            await asyncio.gather(*(act(cached) for _ in range(25)))
            for identifier in identifiers:
                for kind in kinds:
                    await eventually(lambda: agrees(cached, store, identifier, kind))  # noqa: B023


async def test_what_stands_in_for_a_symbols_document_is_not_the_document_of_that_name(
    cached: SettingsStore, redis: redis_py.Redis
) -> None:
    async def reads_nothing() -> bool:
        before = reads(redis)
        found = await cached.get(OKX_UID, "dual_side", symbol="BTC-USDT-SWAP")
        assert found is not None
        assert found.symbol is None
        return reads(redis) == before

    await eventually(reads_nothing)
    assert await cached.get(OKX_UID, "dual_side:BTC-USDT-SWAP") is None
    assert await cached.view(OKX_UID, "dual_side:BTC-USDT-SWAP") is None
    assert await cached.get_many([OKX_UID], "dual_side:BTC-USDT-SWAP") == {}


async def test_no_name_of_a_type_reads_what_the_cache_has_of_a_symbol(
    cached: SettingsStore, redis: redis_py.Redis
) -> None:
    async def is_kept() -> bool:
        before = reads(redis)
        await cached.get(OKX_UID, "dual_side", symbol="BTC-USDT-SWAP")
        return reads(redis) == before

    await eventually(is_kept)
    for name in ("dual_side|BTC-USDT-SWAP", "('dual_side', 'BTC-USDT-SWAP')"):
        for read in (cached.get, cached.view):
            with pytest.raises(UnknownSettingType):
                await read(OKX_UID, name)
        with pytest.raises(UnknownSettingType):
            await cached.value(OKX_UID, name, "x")
        with pytest.raises(UnknownSettingType):
            await cached.get_many([OKX_UID], name)
