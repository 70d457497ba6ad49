"""A PostgreSQL primary with a streaming standby, on loopback ports, by the embedded programs, or TEST_STANDBY_BIN's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from store.operations import embedded
from store.postgres import migrate
from tests.helpers.ports import free_port
from tests.servers.stacks.postgres import OWNER

OPTIONS = ("fsync=off", "listen_addresses=127.0.0.1", "max_wal_senders=4")


class Server:
    """One PostgreSQL; the same port and data at each start."""

    def __init__(self, home: Path, *options: str) -> None:
        self.port = free_port()
        self.data = home / str(self.port)
        self._options = (*OPTIONS, f"port={self.port}", f"unix_socket_directories={home}", *options)
        self._runs = False

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = " ".join(f"-c '{option}'" for option in self._options)
        run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-l", f"{self.data}.log", "-o", options, "start")
        self._runs = True

    def stop(self, how: str = "fast") -> None:
        """End it; `immediate` is as after a crash: no goodbye to clients or standbys."""
        if self._runs:
            run("pg_ctl", "-D", self.data, "-w", "-t", "60", "-m", how, "stop")
            self._runs = False

    def promote(self) -> None:
        run("pg_ctl", "-D", self.data, "-w", "-t", "60", "promote")

    def ask(self, query: str) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
            return row and row[0]


class Pair:
    """A migrated primary and its standby. `is_synchronous`: a commit waits until the standby has it."""

    def __init__(self, is_synchronous: bool) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ss-"))
        if os.geteuid() == 0:
            shutil.chown(self.home, *OWNER)
        self.primary = Server(self.home, *(["synchronous_standby_names=*"] if is_synchronous else []))
        self.standby = Server(self.home)

    def __enter__(self) -> Self:
        try:
            run("initdb", "-D", self.primary.data, "-U", "postgres", "-A", "trust", "-E", "utf8", "--no-sync")
            self.primary.start()
            run("pg_basebackup", "-D", self.standby.data, "-R", "-c", "fast", "-d", self.primary.url, "--no-sync")
            self.standby.start()
            migrate.migrate(self.primary.url)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        for server in (self.primary, self.standby):
            server.stop("immediate")
        shutil.rmtree(self.home)

    @property
    def url(self) -> str:
        """The URL of whichever takes writes."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self.primary, self.standby))
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"


def run(program: str, *arguments: str | Path) -> None:
    """Run a program of PostgreSQL, as somebody who isn't root. It may leave a server behind, which must not hold our
    pipes open."""
    programs = Path(os.environ.get("TEST_STANDBY_BIN") or embedded.wheel_programs())
    user, group = OWNER if os.geteuid() == 0 else (None, None)
    done = subprocess.run(
        [programs / program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, cwd="/",
        user=user, group=group, extra_groups=[] if user else None,
    )  # fmt: skip
    assert done.returncode == 0, f"{program} failed"
