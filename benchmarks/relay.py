"""How long a change made in psql takes to Redis, with the relay running: writers in a process of their own save 1,000
times a second by plain `update`s, and one in ten also sends a NOTIFY.

Measured from the moment the writer sees its commit return to the moment a subscriber of `settings:changes`, told after
the key was written, hears of that version or a newer one of the key; both on the machine's monotonic clock. A
negative lag (the relay was faster than the answer to the writer) counts as none. NOTIFY is measured alike, up to a
listener's callback. The relay is `settings-store relay` with its defaults. benchmarks/notify.py measures it alike, with
--notify and without.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles

import psycopg

from benchmarks import people
from benchmarks.runner import Outcome
from store import Config

USERS, RATE, THREADS, SECONDS, REPEATS, REACH = 500, 1000, 4, 6, 3, 50
WARM_UP = 1.0  # seconds of each run that don't count
CHANNEL = "bench"

UPDATE = """
update user_settings s set settings = s.settings || jsonb_build_object('leverage', 1 + s.version %% 100)
 where s.okx_uid = %s and s.setting_type = 'params' and s.is_active returning s.version
"""


async def measure(config: Config) -> list[Outcome]:
    """Measure the lag, in milliseconds, and the rate that the writers reached."""
    await fill(config)
    async with relaying(config):
        runs = [await run(config) for _ in range(REPEATS)]
    await people.empty(config)
    saves, notified, rates = zip(*runs, strict=True)
    ours, theirs = [percentiles(run) for run in saves], [percentiles(run) for run in notified]
    unit = "ms"
    return [
        Outcome("50 ms, the 99th percentile", unit, [p99 for _, p99 in ours], [REACH] * REPEATS, 1),
        Outcome("NOTIFY to a listener, the 99th", unit, [p99 for _, p99 in ours], [p99 for _, p99 in theirs]),
        Outcome("NOTIFY to a listener, the median", unit, [p50 for p50, _ in ours], [p50 for p50, _ in theirs]),
        Outcome("the rate asked for", "saves/s", rates, [RATE] * REPEATS),
    ]


async def fill(config: Config) -> None:
    """Fill both stores, and leave nothing for a relay to reconcile."""
    await people.empty(config)
    await people.fill_database(config, USERS)
    once = await asyncio.create_subprocess_exec(
        _program(), "relay", "--once", env=config.environment(), stdout=asyncio.subprocess.DEVNULL
    )
    assert await once.wait() == 0


@asynccontextmanager
async def relaying(config: Config, *options: str) -> AsyncIterator[int]:
    """Run a relay with these options; yield its process ID when it has begun."""
    relay = await asyncio.create_subprocess_exec(
        _program(), "relay", *options, env=config.environment(), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.sleep(WARM_UP)
        yield relay.pid
    finally:
        relay.send_signal(signal.SIGTERM)
        await relay.wait()


def _program() -> str:
    return str(Path(sys.executable).with_name("settings-store"))


async def run(
    config: Config, rate: int = RATE, threads: int = THREADS, seconds: int = SECONDS
) -> tuple[list[float], list[float], float]:
    """Let the writers write; return the lags of saves and of notifications in seconds, and saves a second."""
    heard: dict[tuple[str, int], float] = {}
    notified: dict[int, float] = {}
    async with people.servers(config) as (connection, redis), redis.pubsub() as pubsub:
        await pubsub.subscribe(config.mirror_channel)

        async def subscriber() -> None:
            latest: dict[str, int] = {}
            async for message in pubsub.listen():
                if message["type"] == "message":
                    now, change = time.monotonic(), json.loads(message["data"])
                    okx_uid, version = change["okx_uid"], change["version"]
                    for reached in range(latest.get(okx_uid, version - 1) + 1, version + 1):
                        heard[okx_uid, reached] = now
                    latest[okx_uid] = version

        async def listener() -> None:
            await connection.execute(f"listen {CHANNEL}")
            async for note in connection.notifies():
                notified[int(note.payload)] = time.monotonic()

        tasks = [asyncio.create_task(subscriber()), asyncio.create_task(listener())]
        writers = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.relay", str(config.database_url), *map(str, (rate, threads, seconds)),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await writers.communicate()
        await asyncio.sleep(WARM_UP)  # for the last ones
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    written = json.loads(output)
    start = min(at for *_, at in written["saves"]) + WARM_UP
    saves = [(okx_uid, version, at) for okx_uid, version, at in written["saves"] if at > start]
    # A version that the relay passed over, as a newer one was there already, was heard with that one; the first of a
    # key in a run may lie before what was heard.
    lags = [max(0.0, heard[okx_uid, version] - at) for okx_uid, version, at in saves if (okx_uid, version) in heard]
    assert len(lags) > 0.98 * len(saves)
    notes = [max(0.0, notified[number] - at) for number, at in written["notes"] if at > start]
    return lags, notes, len(saves) / (max(at for *_, at in saves) - start)


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds and no less than a microsecond."""
    cuts = quantiles(seconds, n=100)
    return max(cuts[49] * 1e3, 0.001), max(cuts[98] * 1e3, 0.001)


def write(database_url: str, rate: int, threads: int, seconds: int) -> None:
    """Save at the rate for a while; print when each commit returned."""
    saves: list[tuple[str, int, float]] = []
    notes: list[tuple[int, float]] = []

    def writer(number: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            began, period = time.monotonic(), threads / rate
            for n in range(seconds * rate // threads):
                time.sleep(max(0.0, began + n * period - time.monotonic()))
                okx_uid = people.okx_uid((n * threads + number) % USERS)
                row = connection.execute(UPDATE, (okx_uid,)).fetchone()
                assert row
                saves.append((okx_uid, row[0], time.monotonic()))
                if n % 10 == 0:
                    note = n * threads + number
                    connection.execute("select pg_notify(%s, %s)", (CHANNEL, str(note)))
                    notes.append((note, time.monotonic()))

    writers = [threading.Thread(target=writer, args=(number,)) for number in range(threads)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    print(json.dumps({"saves": saves, "notes": notes}))


if __name__ == "__main__":
    write(sys.argv[1], *map(int, sys.argv[2:]))
