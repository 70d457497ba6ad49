"""What a user costs as there are more of them: sync, verify, rebuild, export and search over 1,000 to 10,000 users
(SIZE: up to so many, once). A slope of 1 in the log-log picture (growth.svg) is linear: time ∝ users^slope."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import people
from benchmarks.picture import Line, draw
from benchmarks.runner import Outcome
from store import Config, SettingsStore
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.files import export
from store.operations import service

LARGEST, REPEATS, REACH = 10_000, 2, 1.15  # of a slope, for the noise of small sizes
STEPS = 3
PICTURE = Path(__file__).with_name("growth.svg")


async def measure(config: Config) -> list[Outcome]:
    """Run each job at each size; the slope is fitted by least squares."""
    largest = people.size(LARGEST)
    sizes = [round(1000 * (largest / 1000) ** (step / (STEPS - 1))) for step in range(STEPS)]
    seconds: dict[str, list[list[float]]] = {}  # job -> of each repeat, at each size
    repeats = REPEATS if largest <= LARGEST else 1
    for _ in range(repeats):
        for users in sizes:
            for job, taken in (await _jobs(config, users)).items():
                runs = seconds.setdefault(job, [])
                if users == sizes[0]:
                    runs.append([])
                runs[-1].append(taken)
    await people.empty(config)
    slopes = {job: [slope(sizes, run) for run in runs] for job, runs in seconds.items()}
    best = {job: [min(at) for at in zip(*runs, strict=True)] for job, runs in seconds.items()}
    PICTURE.write_text(draw("Time of a job, by users", "users", "seconds", lines(sizes, best)), encoding="utf-8")
    return [
        Outcome(f"users^1, {job} of {sizes[0]} to {sizes[-1]}", "slope", found, [1] * repeats, REACH)
        for job, found in slopes.items()
    ]


async def _jobs(config: Config, users: int) -> dict[str, float]:
    """Run every job once; return its seconds."""
    found = {}

    async def timed(job: str, work: Callable[[], Awaitable[object]]) -> None:
        began = time.perf_counter()
        await work()
        found[job] = time.perf_counter() - began

    await people.empty(config)
    await people.fill_redis(config, users)
    async with SettingsStore(config) as store, people.servers(config) as (connection, redis):

        async def search() -> None:
            """Find a hundredth of all, again and again."""
            for n in range(100):
                assert await store.search("params", {"btc_investment": n + 1})

        await timed("sync", lambda: Sync(store._connections).run())
        await connection.execute("vacuum analyze")
        await timed("verify", lambda: verify(store._connections))
        await redis.flushall()
        await timed("rebuild", lambda: service.sync(store._connections, "db", None, None, False, lambda _: None))
        await timed("export", lambda: export.export_users(store, io.BytesIO()))
        await timed("100 searches", search)
    return found


def lines(sizes: Sequence[float], times: Mapping[str, Sequence[float]]) -> list[Line]:
    """Name each job with its slope: its time grows as n^slope."""
    return [
        Line(f"{job}: n^{round(slope(sizes, at), 2) + 0:.2f}", list(zip(sizes, at, strict=True)))
        for job, at in times.items()
    ]


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Fit time ∝ size^slope."""
    points = [(math.log(n), math.log(at)) for n, at in zip(sizes, seconds, strict=True)]
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    rise = sum((a - x) * (b - y) for a, b in points)
    return float(rise / sum((a - x) ** 2 for a, _ in points))
