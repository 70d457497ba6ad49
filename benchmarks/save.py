"""`store.save`, against the function called on one connection followed by a bare SET."""

from __future__ import annotations

import json
from itertools import count

import psycopg
from redis.asyncio import Redis

from benchmarks.runner import Outcome, interleave, microseconds
from store import Config, SettingsStore

OURS, RAW = "2000000000000002", "2000000000000003"
QUERY = "select version from upsert_user_setting(%s, 'params', %s)"
CALLS, REPEATS = 200, 15


async def measure(config: Config) -> list[Outcome]:
    """Save `params` (50 keys), every time with another value, one call after the other."""
    assert config.database_url
    assert config.redis_url
    async with (
        SettingsStore(config) as store,
        await psycopg.AsyncConnection.connect(config.database_url, autocommit=True) as connection,
        Redis.from_url(config.redis_url, decode_responses=True) as redis,
    ):
        defaults = {s.setting_type: s.settings for s in (await store.register(OURS)).settings}["params"]
        await store.register(RAW)
        numbers = count(1)

        async def ours(_: int) -> None:
            saved = await store.save(OURS, "params", {**defaults, "btc_investment": next(numbers)})
            assert saved.mirrored

        async def raw(_: int) -> None:
            document = json.dumps({**defaults, "btc_investment": next(numbers)})
            assert await (await connection.execute(QUERY, (RAW, document))).fetchone()
            await redis.set(f"user:{RAW}:settings", document)

        found = await interleave(
            {"save": lambda: microseconds(ours, CALLS), "raw": lambda: microseconds(raw, CALLS)}, REPEATS
        )
    return [Outcome("raw function call + raw SET", "µs", found["save"], found["raw"], 1.3)]
