"""Interleaved repeats, and what comes of them: the ratio of each repeat, its median and spread.

Ratios are taken within a repeat, so that a machine that slows down for a while slows down both sides.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Literal, TypeVar

from benchmarks.report import RESULTS
from store import Config


@dataclass(frozen=True)
class Outcome:
    """One comparison. `ours` and `theirs`: a number per repeat, of the same repeat at the same index;
    `reach`: what the ratio must be, at least or at most; None: only to know."""

    against: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    reach: float | None = None
    bound: Literal["at least", "at most"] = "at most"

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def is_reached(self) -> bool:
        if self.reach is None:
            return True
        return self.ratio >= self.reach if self.bound == "at least" else self.ratio <= self.reach

    def as_json(self) -> dict[str, Any]:
        low, _, high = quantiles(self.ratios, n=4) if len(self.ratios) > 1 else self.ratios * 3
        return {
            "against": self.against,
            "unit": self.unit,
            "ours": round(median(self.ours), 2),
            "theirs": round(median(self.theirs), 2),
            "ratio": round(self.ratio, 3),
            "quartiles": [round(low, 3), round(high, 3)],
            "repeats": len(self.ratios),
            "reach": None if self.reach is None else f"{self.bound} {self.reach}",
            "reached": self.is_reached,
        }


Side = TypeVar("Side")
Measure = Callable[[Config], Coroutine[Any, Any, list[Outcome]]]


async def interleave(
    sides: Mapping[Side, Callable[[], Awaitable[float]]], repeats: int, warm_up: int = 1
) -> dict[Side, list[float]]:
    """Measure each side in turn, again and again, every repeat starting with another one."""
    names = list(sides)
    found: dict[Side, list[float]] = {name: [] for name in names}
    for repeat in range(-warm_up, repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            number = await sides[name]()
            if repeat >= 0:
                found[name].append(number)
    return found


async def microseconds(work: Callable[[int], Awaitable[object]], calls: int) -> float:
    """Time calls one after the other; returns microseconds a call. The work gets the number of the call."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for call in range(calls):
            await work(call)
        return (time.perf_counter() - start) / calls * 1e6
    finally:
        gc.enable()


def show(name: str, outcome: Outcome) -> None:
    """Print a comparison as one line."""
    found = outcome.as_json()
    target = (
        "" if outcome.reach is None else f"  ({outcome.bound} {outcome.reach}: {'yes' if outcome.is_reached else 'NO'})"
    )
    low, high = found["quartiles"]
    print(
        f"{name:8} {found['ratio']:6.3f}  [{low:.3f} - {high:.3f}]  {found['ours']:9.1f} / {found['theirs']:9.1f}"
        f" {outcome.unit}  against {outcome.against}{target}",
        flush=True,
    )


def write_results(name: str, outcomes: Sequence[Outcome]) -> None:
    """Put a benchmark's outcomes into results.json, those of another SIZE under a name of their own; the others keep
    what stands there."""
    size = os.environ.get("SIZE")
    system = f"{platform.system()} {platform.machine()}"
    machine = f"{system}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results[f"{name} {size}" if size else name] = {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine,
        "load": [round(load, 1) for load in os.getloadavg()],  # others on the machine, too
        "comparisons": [outcome.as_json() for outcome in outcomes],
    }
    RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")
