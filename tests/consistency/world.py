"""The servers of a run, the lines to them, and the processes that use them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import psycopg
import redis as redis_py

from store import Config, Vault
from store.encryption.vault import generate_key
from store.operations import embedded
from store.postgres import migrate
from store.sockets import redis_socket, socket_folder
from tests.consistency import ledger
from tests.consistency.client import Cast
from tests.consistency.line import Line
from tests.servers.stacks import postgres

PROGRAM = [sys.executable, "-m", "tests.consistency"]
IMPATIENT = {"REDIS_TIMEOUT": "0.2", "DB_TIMEOUT": "2"}  # so that a fault is one
PATIENT = "-c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0"  # whatever is set meanwhile
EMPTIED = """
select 'truncate ' || string_agg(oid::regclass::text, ', ') from pg_class c
 where relkind = 'r' and relnamespace in ('public'::regnamespace, 'consistency'::regnamespace)
   and relname <> all (%s)"""
CLOCKS = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)  # by which processes get another one
Process = subprocess.Popen[bytes]


@dataclass
class World:
    """Servers that go on from round to round, emptied; clients, watchers and relays of one round."""

    config: Config
    keys: list[str]
    redis_line: Line
    postgres_line: Line
    seeded: list[str]  # tables that have rows after a migration
    log: Path
    cast: Cast = field(default_factory=lambda: Cast.of(0, 2))
    folder: Path = Path()
    seed: int = 0
    reads: float = 1
    is_rogue: bool = False
    clients: dict[int, Process] = field(default_factory=dict)
    todo: dict[int, int] = field(default_factory=dict)
    watchers: dict[int, Process] = field(default_factory=dict)
    relays: list[Process] = field(default_factory=list)
    relay_options: Iterator[list[str]] = field(default_factory=lambda: cycle(([], ["--notify"])))
    next_number: int = 1

    @property
    def home(self) -> Path:
        return self.config.home

    def set_clock(self, seconds: int) -> None:
        """Have the wall clock of clients, relays and PostgreSQL differ from the machine's; each sees it in a second."""
        new = self.home / "clock.new"
        new.write_text(f"{seconds:+d}\n")
        new.rename(self.home / "clock")

    def environment(self, number: int = 0) -> dict[str, str]:
        """A third of the clients, and the relays, reach Redis through a line, a third PostgreSQL."""
        urls = [self.config.database_url or "", self.config.redis_url or ""]
        raw = {"RAW_DATABASE_URL": urls[0], "RAW_REDIS_URL": urls[1]}
        if number % 3 == 1:
            urls[1] = f"redis://127.0.0.1:{self.redis_line.port}"
        elif number % 3 == 2:
            urls[0] = f"postgresql://postgres@127.0.0.1:{self.postgres_line.port}/{postgres.DATABASE}"
        names = [prefix + name for prefix in ("", "SETTINGS_STORE_") for name in ("DATABASE_URL", "REDIS_URL")]
        style = {"PGDATESTYLE": "German"} if number % 4 == 3 else {}
        keys = {"SETTINGS_STORE_KEYS": " ".join(self.keys)}
        return {
            **os.environ,
            **_clock(self.home),
            **raw,
            **dict(zip(names, urls * 2, strict=True)),
            **IMPATIENT,
            **keys,
            **style,
        }

    def redis(self) -> redis_py.Redis:
        return redis_py.Redis.from_url(self.config.redis_url or "", socket_timeout=5, decode_responses=True)

    def postgres(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.config.database_url or "", autocommit=True, options=PATIENT)

    def vault(self) -> Vault:
        return Vault.from_env({"SETTINGS_STORE_KEYS": " ".join(self.keys)})

    # -- processes

    def start_client(self, ops: int) -> None:
        number = self._number()
        command = ["client", "--number", str(number), "--ops", str(ops), "--seed", str(self.seed)]
        command += ["--folder", str(self.folder), "--cast", f"{self._round()},{len(self.cast.users)}"]
        command += ["--reads", str(self.reads)]
        self.clients[number] = self._start(number, [*PROGRAM, *command, *(["--rogue"] if self.is_rogue else [])])
        self.todo[number] = ops

    def start_watcher(self) -> None:
        number = self._number() // 12 * 12 + 12  # on no line; the clients after it have each part once
        self.next_number = number + 1
        command = ["watch", "--number", str(number), "--folder", str(self.folder)]
        self.watchers[number] = self._start(number, [*PROGRAM, *command])

    def start_relay(self) -> None:
        command = [sys.executable, "-m", "cli", "relay", "--poll", "0.01", *next(self.relay_options)]
        self.relays.append(self._start(1, command))

    def kill_client(self, number: int) -> None:
        """Kill a client, and have another do what it left."""
        self.clients[number].kill()
        self.clients[number].wait()
        if (left := self.todo[number] - self.done(number)) > 0:
            self.start_client(left)

    def kill_relay(self) -> None:
        self.relays[0].kill()
        self.relays.pop(0).wait()
        self.start_relay()

    def done(self, number: int) -> int:
        """Count the calls that a client has begun."""
        file = self.folder / f"client-{number}.jsonl"
        return file.read_bytes().count(b'"f":') if file.exists() else 0

    def end(self) -> list[str]:
        """End the processes of a round; say what else than a kill ended one."""
        for process in [*self.watchers.values(), *self.relays]:
            process.terminate()
        everybody = [*self.clients.values(), *self.watchers.values(), *self.relays]
        for process in everybody:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        codes = [process.returncode for process in everybody]
        self.clients, self.todo, self.watchers, self.relays = {}, {}, {}, []
        return [f"a process ended with {code}" for code in codes if code not in (0, -signal.SIGKILL)]

    def is_busy(self) -> bool:
        return any(client.poll() is None for client in self.clients.values())

    def job(self, *arguments: str, may_fail: bool = True) -> str | None:
        """Run a command amid the faults: it may find something, or a store away, but not fail otherwise."""
        command = [sys.executable, "-m", "cli", *arguments]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=90, check=False)
        if done.returncode not in ((0, 1, 3) if may_fail else (0,)) or "Traceback" in done.stderr:
            return f"{' '.join(arguments)} ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}"
        return None

    def clean(self) -> None:
        """Take everything out of both stores."""
        with self.postgres() as connection:
            connection.execute("set session_replication_role = replica")
            (statement,) = connection.execute(EMPTIED.encode(), (self.seeded,)).fetchone() or ("",)
            connection.execute(statement.encode())
        with self.redis() as client:
            client.flushall()

    def _start(self, number: int, command: list[str]) -> Process:
        with self.log.open("ab") as log:
            return subprocess.Popen(command, env=self.environment(number), stderr=log, stdout=log)

    def _number(self) -> int:
        number, self.next_number = self.next_number, self.next_number + 1
        return number

    def _round(self) -> int:
        return (int(self.cast.users[0]) - 10**15) // 1000


@contextmanager
def world() -> Iterator[World]:
    """Start servers for as long as the context lasts."""
    home = Path(tempfile.mkdtemp(prefix="ss-"))
    lines: list[Line] = []
    made: World | None = None
    (home / "clock").write_text("+0\n")
    try:
        config = Config(start_postgres(home), embedded.start_redis(home), home=home)
        url = config.database_url or ""
        postgres.hurry(url)
        postgres.install_timescaledb(url)
        migrate.migrate(url)
        ledger.install(url)
        folder = socket_folder(home, "postgres", ".s.PGSQL.5432")
        lines = [Line(str(redis_socket(home))), Line(str(folder / ".s.PGSQL.5432"))]
        keys = [generate_key(), generate_key()]
        made = World(config, keys, lines[0], lines[1], _seeded(url), home / "processes.log")
        yield made
    finally:
        if made is not None:
            for process in [*made.clients.values(), *made.watchers.values(), *made.relays]:
                process.kill()
                process.wait()
        for line in lines:
            line.close()
        postgres.stop(home)
        embedded.stop(Config(home=home))
        shutil.rmtree(home)


def _clock(home: Path) -> dict[str, str]:
    """What gives a process the clock of set_clock(); the monotonic one stays the machine's. Not for Redis, whose
    allocator doesn't start with it."""
    if CLOCKS is None:
        return {}
    return {
        "LD_PRELOAD": str(CLOCKS), "FAKETIME_TIMESTAMP_FILE": str(home / "clock"), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1", "FAKETIME_DISABLE_SHM": "1",
    }  # fmt: skip


def start_postgres(home: Path) -> str:
    """Start PostgreSQL, with the clock of the others; return its URL."""
    before = dict(os.environ)
    os.environ.update(_clock(home))
    try:
        return postgres.start(home)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _seeded(url: str) -> list[str]:
    query = "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    with psycopg.connect(url) as connection:
        names = [name for (name,) in connection.execute(query)]
        return [name for name in names if connection.execute(f'select from "{name}" limit 1'.encode()).rowcount]


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for what can only be polled; tell whether it came."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis_py.RedisError, psycopg.OperationalError):
            if condition():
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
