"""The local cache: a hit, against a plain dict and against asking Redis; and how soon what another process saves is
seen, against how long its save takes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from statistics import quantiles

from redis.asyncio import Redis

from benchmarks.runner import Outcome, interleave, microseconds
from store import Config, SettingsStore

OKX_UID = "2000000000000005"
KEY = f"user:{OKX_UID}:settings"
CALLS, REPEATS = 2000, 15
SAVES, SAVE_REPEATS = 200, 7
LOOK = 0.0002  # seconds between looks at the cache, so that the saver has the machine


async def measure(config: Config) -> list[Outcome]:
    """Read the default `params` (50 keys) one call after the other; then save them elsewhere and wait for them."""
    assert config.redis_url
    async with (
        SettingsStore(config, cache=100) as cached,
        Redis.from_url(config.redis_url, decode_responses=True) as redis,
    ):
        await cached.register(OKX_UID)
        return [*await _hits(cached, redis), *await _propagation(config, cached)]


async def _hits(cached: SettingsStore, redis: Redis) -> list[Outcome]:
    documents = {(OKX_UID, "params"): json.loads(await redis.get(KEY) or "{}")}

    async def hit(_: int) -> None:
        assert await cached.get(OKX_UID, "params") is not None

    async def view(_: int) -> None:
        assert await cached.view(OKX_UID, "params") is not None

    async def value(_: int) -> None:
        assert await cached.value(OKX_UID, "params", "leverage") is not None

    async def plain_dict(_: int) -> None:
        assert documents[OKX_UID, "params"].copy()

    async def raw(_: int) -> None:
        assert json.loads(await redis.get(KEY) or "{}")

    sides = {"hit": hit, "view": view, "value": value, "dict": plain_dict, "raw": raw}
    found = await interleave(
        {name: lambda work=work: microseconds(work, CALLS) for name, work in sides.items()},  # type: ignore[misc]
        REPEATS,
    )
    return [
        Outcome("a dict's copy", "µs", found["hit"], found["dict"]),
        Outcome("json.loads(await redis.get(key))", "µs", found["hit"], found["raw"]),
        Outcome("view(): get()", "µs", found["view"], found["hit"]),
        Outcome("value(): get()", "µs", found["value"], found["hit"]),
    ]


async def _propagation(config: Config, cached: SettingsStore) -> list[Outcome]:
    """Measure from the call of save() in another process until get() has the new version here, and until save()
    returns there."""
    saver = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.cache", env=config.environment(), stdin=PIPE, stdout=PIPE
    )
    assert saver.stdin
    assert saver.stdout
    seen: list[list[float]] = []  # percentiles, by repeat
    returned: list[list[float]] = []
    for repeat in range(-1, SAVE_REPEATS):
        until_seen, until_returned = [], []
        for _ in range(SAVES):
            before = await _version(cached)
            saver.stdin.write(b"\n")
            while await _version(cached) == before:  # noqa: ASYNC110
                await asyncio.sleep(LOOK)
            at = time.monotonic()  # the same clock in all processes
            begun, ended = map(float, (await saver.stdout.readline()).split())
            until_seen.append((at - begun) * 1e6)
            until_returned.append((ended - begun) * 1e6)
        if repeat >= 0:
            seen.append(quantiles(until_seen, n=100))
            returned.append(quantiles(until_returned, n=100))
    saver.stdin.close()
    await saver.wait()
    return [
        Outcome(f"save() until it returns, p{p}", "µs", [r[p - 1] for r in seen], [r[p - 1] for r in returned])
        for p in (50, 99)
    ]


async def _version(store: SettingsStore) -> int:
    setting = await store.get(OKX_UID, "params")
    assert setting is not None
    return setting.version


async def save_when_told() -> None:
    """Save another document for every line that comes; answer with when that began and ended."""
    async with SettingsStore() as store:
        defaults = await store.get(OKX_UID, "params")
        assert defaults is not None
        for _ in iter(sys.stdin.readline, ""):
            begun = time.monotonic()
            saved = await store.save(OKX_UID, "params", {**defaults.settings, "btc_investment": begun})
            ended = time.monotonic()
            assert saved.mirrored
            print(begun, ended, flush=True)


if __name__ == "__main__":
    asyncio.run(save_when_told())
