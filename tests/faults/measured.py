"""The command line as a process of its own, with how much memory it took at most."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from store import Config

LIMIT = 150.0  # MB that a command may take
PATIENCE = 120.0  # seconds until one that doesn't end fails a test

# Told by the process itself: what the system tells a parent includes the parent's own memory before the exec.
PROGRAM = """
import atexit, pathlib, sys
peak = pathlib.Path(sys.argv.pop(1))
def note():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    peak.write_text(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
atexit.register(note)
import cli
cli.main()
"""


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str
    peak: float  # MB

    @property
    def is_fair(self) -> bool:
        """Whether it ended as commands do, within the memory that they have."""
        return self.code in (0, 1) and "Traceback" not in self.err and 0 < self.peak < LIMIT


def environment(config: Config) -> dict[str, str]:
    """The variables of a process on these servers, with default timeouts."""
    mode = {} if config.mirror_credentials is None else {"MIRROR_CREDENTIALS": config.mirror_credentials}
    return config.environment() | mode


def command(config: Config, *arguments: str) -> Done:
    """Run a command to its end."""
    with TemporaryDirectory() as folder:
        peak = Path(folder) / "peak"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(peak), *arguments],
            env=environment(config), capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr, int(peak.read_text()) / 1024 if peak.exists() else 0.0)
