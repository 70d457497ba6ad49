"""Runs the tests on a Debian release's servers: python -m tests.servers.stacks debian12|debian13 [arguments of pytest]

Its packages are unpacked once, by debootstrap, into a folder of the cache; nothing of it touches the machine. The tests
find its programs by PATH and TEST_POSTGRES_BIN: wrappers that enter the folder by chroot. Servers start from the tests,
listen on Unix sockets and have their data in one temporary folder, seen from inside by a mount of this run's own
(unshare), which goes with it however it ends. Needs root.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

DEFAULT_MIRROR = "http://deb.debian.org/debian"
SECLUDED = "TEST_STACK_SECLUDED"  # set in the process that has mounts of its own


@dataclass(frozen=True)
class Stack:
    """What of a Debian release is used."""

    suite: str
    postgres: int
    redis: str
    packages: tuple[str, ...]
    initdb: str = ""  # options
    pytest: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """Name the folder it is unpacked in: another one for other packages."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        key = hashlib.sha256(" ".join(self.packages).encode()).hexdigest()[:8]
        return cache / "settings-store" / f"{self.suite}-{key}"


# TimescaleDB's background workers serve policies, which the Apache edition hasn't. They would visit each database, and
# one that is visited can't be cloned. Telemetry would call home from each.
TIMESCALEDB = (
    "shared_preload_libraries=timescaledb timescaledb.max_background_workers=0 timescaledb.telemetry_level=off"
)
STACKS = {
    "debian12": Stack("bookworm", 15, "redis-server", ("postgresql-15", "redis-server")),
    "debian13": Stack(
        "trixie", 17, "valkey-server", ("postgresql-17", "postgresql-17-timescaledb", "valkey-server"),
        initdb=" ".join(f"-c {setting}" for setting in TIMESCALEDB.split()),
        pytest=("-m", "(timescale or not slow) and not"
                " (pgbouncer or tls or sentinel or cluster or standby or prometheus or chromium or node)"),
    ),
}  # fmt: skip


def main(name: str, arguments: list[str]) -> int:
    """Run pytest on a stack; return its exit code."""
    stack = STACKS[name]
    if SECLUDED not in os.environ:
        _unpack(stack)
        os.environ[SECLUDED] = "1"
        again = [sys.executable, "-m", "tests.servers.stacks", name, *arguments]
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", *again])
    folder = Path(tempfile.mkdtemp(prefix="ss-", dir="/tmp"))  # short: Unix sockets will lie in it
    folder.chmod(0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, lambda *_: None)  # pytest has it too, and ends its servers
    try:
        _mount("--rbind", Path("/dev"), stack.root / "dev")
        (stack.root / folder.relative_to("/")).mkdir(parents=True)
        _mount("--bind", folder, stack.root / folder.relative_to("/"))
        programs = _wrappers(stack, folder)
        environment = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TEST_POSTGRES_BIN": str(programs),
            "TMPDIR": str(folder), "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        command = [sys.executable, "-m", "pytest", *stack.pytest, *arguments]
        return subprocess.run(command, env=environment, check=False).returncode
    finally:
        _end_servers(folder)
        subprocess.run(["umount", stack.root / folder.relative_to("/")], check=False)
        shutil.rmtree(stack.root / folder.relative_to("/"), ignore_errors=True)
        shutil.rmtree(folder)


def _unpack(stack: Stack) -> None:
    stack.root.parent.mkdir(parents=True, exist_ok=True)
    with open(stack.root.parent / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stack.root.exists():
            return
        if shutil.which("debootstrap") is None:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap"], check=True)
        unfinished = stack.root.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        print(f"unpacking {', '.join(stack.packages)} of {stack.suite} into {stack.root}", flush=True)
        log = stack.root.with_suffix(".log")
        include = f"--include={','.join(stack.packages)}"
        command = ["debootstrap", "--variant=minbase", include, stack.suite, str(unfinished), _mirror()]
        with open(log, "w", encoding="utf-8") as out:
            if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode:
                sys.exit(f"debootstrap failed; see {log}\n{log.read_text()[-2000:]}")
        for archive in (unfinished / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        unfinished.rename(stack.root)


def _mirror() -> str:
    """Find the Debian mirror that this machine's apt uses."""
    sources = (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*")))
    for file in sources:
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")] if file.is_file() else []
        if found := re.search(r"https?://\S+/debian/?(?=\s|$)", "\n".join(lines)):
            return found[0]
    return DEFAULT_MIRROR


def _mount(how: str, what: Path, where: Path) -> None:
    subprocess.run(["mount", how, str(what), str(where)], check=True)


def _wrappers(stack: Stack, folder: Path) -> Path:
    """Write the programs that the tests start, under the names that they look for."""
    programs = folder / "bin"
    programs.mkdir()
    root = shlex.quote(str(stack.root))
    postgres = f"exec chroot --userspec=nobody:nogroup {root} /usr/lib/postgresql/{stack.postgres}/bin"
    commands = {
        "initdb": f"{postgres}/initdb {stack.initdb}",
        "pg_ctl": f"{postgres}/pg_ctl",
        "redis-server": f"exec chroot {root} /usr/bin/{stack.redis}",
    }
    for name, command in commands.items():
        (programs / name).write_text(f'#!/bin/sh\n{command} "$@"\n')
        (programs / name).chmod(0o755)
    return programs


def _end_servers(folder: Path) -> None:
    """End what tests that were killed have left, by the process ids in its folders."""
    for note in (*folder.glob("**/postmaster.pid"), *folder.glob("**/redis.pid")):
        try:
            process = psutil.Process(int(note.read_text().split()[0]))
            if process.name().startswith(("postgres", "redis", "valkey")):
                process.send_signal(signal.SIGINT)
                process.wait(30)
        except (OSError, ValueError, IndexError, psutil.Error):
            continue


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in STACKS:
        sys.exit(f"usage: python -m tests.servers.stacks {'|'.join(STACKS)} [arguments of pytest]")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
