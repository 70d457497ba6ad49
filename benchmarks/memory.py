"""Peak memory of sync, rebuild, verify, export and backup, each in a process of its own, against 150 MB; and against
`settings-store status`, which does next to nothing. Once: it varied by 1 % from run to run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile

from benchmarks import people
from benchmarks.runner import Outcome
from store import Config

# Not ru_maxrss: that is no less than what the process was forked from. Standard error ends in `VmHWM: N kB`.
PROGRAM = """
import atexit, sys
from cli import main

def tell():
    print(*[line for line in open("/proc/self/status") if line.startswith("VmHWM")], file=sys.stderr)

atexit.register(tell)
main()
"""

USERS, REACH = 10_000, 150


async def measure(config: Config) -> list[Outcome]:
    """Take the kernel's word for each process; in MB (10^6 bytes)."""
    users = people.size(USERS)
    with tempfile.TemporaryDirectory() as folder:
        jobs = {
            "sync": ["sync"],
            "verify": ["verify"],
            "sync --from db": ["sync", "--from", "db"],
            "export": ["export", "--all", "-o", f"{folder}/export.json"],
            "backup": ["backup", f"{folder}/backup.zip"],
            "status": ["status"],
        }
        found: dict[str, float] = {}
        await people.empty(config)
        await people.fill_redis(config, users)
        for name, command in jobs.items():
            if name == "sync --from db":
                async with people.servers(config) as (_, redis):
                    await redis.flushall()
            found[name] = await asyncio.to_thread(_peak, config, command)
    await people.empty(config)
    least = found.pop("status")
    limit = Outcome("150 MB", "MB", [max(found.values())], [REACH], 1)
    jobs_above = (Outcome(f"status, {job} of {users} users", "MB", [peak], [least]) for job, peak in found.items())
    return [limit, *jobs_above]


def _peak(config: Config, arguments: list[str]) -> float:
    environ = {
        **config.environment(),
        "SETTINGS_STORE_HOME": str(config.home), "SETTINGS_STORE_KEYS_FILE": str(config.key_file),
        "MIRROR_CREDENTIALS": config.credentials_mode,
    }  # fmt: skip
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}")
    return int(done.stderr.split()[-2]) * 1024 / 1e6
