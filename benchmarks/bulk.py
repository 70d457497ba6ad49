"""Documents of many users at once: `get_many` against a pipeline of redis-py's own, reads that share exchanges against
reads that don't, `save_many` against a save for each."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from benchmarks import people
from benchmarks.runner import Outcome, interleave
from store import Config, SettingsStore

USERS = [people.okx_uid(n) for n in range(1000)]
SAVED = USERS[:200]
REPEATS, SAVE_REPEATS = 11, 7


async def measure(config: Config) -> list[Outcome]:
    """Read and save the default `params` (50 keys) of many users."""
    assert config.redis_url
    await people.empty(config)
    await people.fill_database(config, len(USERS))
    async with SettingsStore(config) as store, Redis.from_url(config.redis_url, decode_responses=True) as redis:
        await store.get_many(USERS, "params")  # which fills Redis
        return [*await _reads(store, redis), *await _saves(store)]


async def _reads(store: SettingsStore, redis: Redis) -> list[Outcome]:
    keys = [f"user:{okx_uid}:settings" for okx_uid in USERS]

    async def get_many() -> None:
        assert len(await store.get_many(USERS, "params", source="redis")) == len(USERS)

    async def gets() -> None:
        assert all(await asyncio.gather(*(store.get(okx_uid, "params", source="redis") for okx_uid in USERS)))

    async def pipeline() -> None:
        async with redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(key)
            assert len([json.loads(text) for text in await pipe.execute()]) == len(keys)

    async def raw_gets() -> None:
        turns = asyncio.Semaphore(50)

        async def get(key: str) -> object:
            async with turns:
                return json.loads(await redis.get(key) or "{}")

        assert all(await asyncio.gather(*map(get, keys)))

    sides: dict[str, Callable[[], Awaitable[None]]] = {
        "many": get_many, "gets": gets, "pipeline": pipeline, "raw": raw_gets,
    }  # fmt: skip
    found = await interleave(
        {name: lambda work=work: _rate(work, len(USERS)) for name, work in sides.items()},  # type: ignore[misc]
        REPEATS,
    )
    unit = "documents/s"
    return [
        Outcome("get_many: a pipeline of GETs, json.loads", unit, found["many"], found["pipeline"], 0.9, "at least"),
        Outcome("get_many: get() of each, by gather", unit, found["many"], found["gets"]),
        Outcome("get() by gather: redis.get() by gather, json.loads", unit, found["gets"], found["raw"]),
    ]


async def _saves(store: SettingsStore) -> list[Outcome]:
    defaults = await store.get(USERS[0], "params")
    assert defaults
    number = itertools.count(1)

    async def save_many() -> None:
        document = {**defaults.settings, "btc_investment": next(number)}
        saved = await store.save_many(dict.fromkeys(SAVED, document), "params")
        assert all(setting.mirrored for setting in saved.values())

    async def saves() -> None:
        document = {**defaults.settings, "btc_investment": next(number)}
        saved = await asyncio.gather(*(store.save(okx_uid, "params", document) for okx_uid in SAVED))
        assert all(setting.mirrored for setting in saved)

    found = await interleave(
        {"many": lambda: _rate(save_many, len(SAVED)), "each": lambda: _rate(saves, len(SAVED))}, SAVE_REPEATS
    )
    return [Outcome("save_many: save() of each, by gather", "saves/s", found["many"], found["each"])]


async def _rate(work: Callable[[], Awaitable[None]], documents: int) -> float:
    """Return how many documents a second that is."""
    gc.collect()
    start = time.perf_counter()
    await work()
    return documents / (time.perf_counter() - start)
