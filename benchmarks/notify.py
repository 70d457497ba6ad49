"""The relay with --notify against one without, in turn: from a commit by plain SQL to Redis, 25 times a second, as
`relay` measures it; CPU of the relay and of PostgreSQL while nothing is written; and how many saves a second eight
writers make by plain SQL as fast as they can, whom a relay asks to notify it or not.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import psycopg

from benchmarks import people, relay
from benchmarks.runner import Outcome
from store import Config

RATE, SECONDS, REPEATS = 25, 10, 3
IDLE = 10.0  # seconds
WRITERS, AS_FAST = 8, 8.0  # seconds, of which the first WARM_UP don't count
WARM_UP = 2.0
TICKS = os.sysconf("SC_CLK_TCK")

SAVE = "select upsert_user_setting(%s, 'dual_side', jsonb_build_object('n', %s::bigint))"


async def measure(config: Config) -> list[Outcome]:
    """Measure lags in milliseconds, CPU in milliseconds a second, and saves a second."""
    await relay.fill(config)
    found: dict[str, list[tuple[float, float, float, float]]] = {"": [], "--notify": []}
    for repeat in range(REPEATS):
        for option in sorted(found, reverse=repeat % 2 == 1):
            found[option].append(await _one(config, option))
    await people.empty(config)
    ours, theirs = (list(zip(*found[option], strict=True)) for option in ("--notify", ""))
    names = (
        ("without, the median", "ms"), ("without, the 99th percentile", "ms"),
        ("without, CPU when idle", "ms/s"), (f"without, {WRITERS} writers", "saves/s"),
    )  # fmt: skip
    return [Outcome(name, unit, a, b) for (name, unit), a, b in zip(names, ours, theirs, strict=True)]


async def _one(config: Config, option: str) -> tuple[float, float, float, float]:
    async with relay.relaying(config, *filter(None, [option])) as process:
        lags, _, _ = await relay.run(config, RATE, 1, SECONDS)
        await asyncio.sleep(1)
        before = _used(config, process)
        await asyncio.sleep(IDLE)
        used = (_used(config, process) - before) / IDLE * 1e3
        return *relay.percentiles(lags), used, await _saves(config)


def _used(config: Config, relays: int) -> float:
    """Return seconds of CPU that the relay and PostgreSQL's processes for it have had."""
    with psycopg.connect(str(config.database_url)) as connection:
        query = (
            "select pid from pg_stat_activity where application_name like 'settings-store%' and pid <> pg_backend_pid()"
        )
        processes = [relays, *(pid for (pid,) in connection.execute(query))]
    return (
        sum(sum(map(int, Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[13:15])) for pid in processes)
        / TICKS
    )


async def _saves(config: Config) -> float:
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.notify", str(config.database_url), str(number),
            stdout=asyncio.subprocess.PIPE,
        )
        for number in range(WRITERS)
    ]  # fmt: skip
    return sum([float((await writer.communicate())[0]) for writer in writers])


def write(database_url: str, number: int) -> None:
    """Save as fast as that goes; print how often a second."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        began, n = time.monotonic(), 0
        while (now := time.monotonic()) < began + AS_FAST:
            if now < began + WARM_UP:
                n = 0
            okx_uid = people.okx_uid((n * WRITERS + number) % relay.USERS)
            connection.execute(SAVE, (okx_uid, time.monotonic_ns()))
            n += 1
    print(n / (AS_FAST - WARM_UP))


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]))
