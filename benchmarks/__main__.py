"""Run the benchmarks on embedded servers of their own: `python -m benchmarks [ONLY]`."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import (
    bulk,
    cache,
    candles,
    growth,
    halts,
    memory,
    notify,
    read,
    rebuild,
    relay,
    report,
    rivals,
    save,
    startup,
    sync,
    upsert,
    verify,
    versions,
)  # fmt: skip
from benchmarks.runner import Measure, Outcome, show, write_results
from store import Config
from store.operations import embedded

MEASURES: dict[str, Measure] = {
    "startup": startup.measure, "upsert": upsert.measure, "rivals": rivals.measure, "read": read.measure,
    "save": save.measure, "bulk": bulk.measure, "cache": cache.measure, "candles": candles.measure,
    "versions": versions.measure, "relay": relay.measure, "notify": notify.measure, "sync": sync.measure,
    "rebuild": rebuild.measure, "verify": verify.measure, "halts": halts.measure, "memory": memory.measure,
    "growth": growth.measure,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Measure everything, or the one that is named. Returns 1 if a target was missed."""
    names = arguments or list(MEASURES)
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    outcomes: dict[str, list[Outcome]] = {}
    home = Path(tempfile.mkdtemp(prefix="ss-bench-"))
    config = Config(home=home, mirror_credentials="encrypted")  # sync asks for a choice
    try:
        servers = embedded.provide(config)
        for name in names:
            began = time.monotonic()
            outcomes[name] = asyncio.run(MEASURES[name](servers))
            for outcome in outcomes[name]:
                show(name, outcome)
            print(f"{name:8} took {time.monotonic() - began:.0f} s", flush=True)
            write_results(name, outcomes[name])
            report.write()
    finally:
        embedded.stop(config)
        shutil.rmtree(home)
    return 0 if all(outcome.is_reached for found in outcomes.values() for outcome in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
