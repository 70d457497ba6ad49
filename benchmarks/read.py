"""`store.get` served by Redis, against the least a bot could do: `json.loads(await redis.get(key))`."""

from __future__ import annotations

import json

from redis.asyncio import Redis

from benchmarks.runner import Outcome, interleave, microseconds
from store import Config, SettingsStore

OKX_UID = "2000000000000001"
KEY = f"user:{OKX_UID}:settings"
CALLS, REPEATS = 1000, 15


async def measure(config: Config) -> list[Outcome]:
    """Read the default `params` (50 keys) one call after the other."""
    assert config.redis_url
    async with SettingsStore(config) as store, Redis.from_url(config.redis_url, decode_responses=True) as redis:
        await store.register(OKX_UID)

        async def ours(_: int) -> None:
            setting = await store.get(OKX_UID, "params")
            assert setting is not None
            assert setting.source == "redis"

        async def raw(_: int) -> None:
            assert json.loads(await redis.get(KEY) or "{}")

        found = await interleave(
            {"get": lambda: microseconds(ours, CALLS), "raw": lambda: microseconds(raw, CALLS)}, REPEATS
        )
    return [Outcome("json.loads(await redis.get(key))", "µs", found["get"], found["raw"], 1.25)]
