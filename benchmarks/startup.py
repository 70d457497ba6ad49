"""`settings-store --help`, against a Python that does nothing, and against the least that Click can do."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from benchmarks.runner import Outcome, interleave
from store import Config

REPEATS, REACH = 15, 200  # milliseconds
CLICK = "import click; click.command(help='It does nothing.')(lambda: None)()"


async def measure(_: Config) -> list[Outcome]:
    """Start each in a process of its own; as milliseconds."""
    program = str(Path(sys.executable).with_name("settings-store"))
    found = await interleave(
        {
            "ours": lambda: _milliseconds(program, "--help"),
            "python": lambda: _milliseconds(sys.executable, "-c", "pass"),
            "click": lambda: _milliseconds(sys.executable, "-c", CLICK, "--help"),
        },
        REPEATS,
    )
    return [
        Outcome("0.2 s", "ms", found["ours"], [REACH] * REPEATS, 1),
        Outcome("python -c pass", "ms", found["ours"], found["python"]),
        Outcome("a command of Click's that does nothing", "ms", found["ours"], found["click"]),
    ]


async def _milliseconds(*command: str) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    return (time.perf_counter() - began) * 1e3
