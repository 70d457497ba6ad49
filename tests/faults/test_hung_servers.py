"""A command that is told to end does so within a bound, also if a server hangs: keeps its connections, says nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import psycopg
import pytest

from store import Config
from store.operations import embedded
from tests.cli.conftest import environment
from tests.faults.servers import PATIENCE, PostgresServer, RedisServer, wait_until

pytestmark = pytest.mark.slow

Hang = Callable[[PostgresServer, RedisServer], list[int]]


def postgres(server: PostgresServer, _: RedisServer) -> list[int]:
    pid = embedded.postgres_pid(server.home)
    assert pid is not None
    return [pid, *(child.pid for child in psutil.Process(pid).children())]


def backends(server: PostgresServer, redis: RedisServer) -> list[int]:
    """The postmaster goes on, and takes connections that nobody serves any more."""
    return postgres(server, redis)[1:]


def redis(_: PostgresServer, server: RedisServer) -> list[int]:
    return [server.pid]


def both(server: PostgresServer, other: RedisServer) -> list[int]:
    return postgres(server, other) + redis(server, other)


@pytest.fixture
def config(own_postgres: PostgresServer, own_redis: RedisServer) -> Config:
    """The configuration of servers that may both hang."""
    return Config(own_postgres.url, own_redis.url, own_postgres.home)


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Processes that don't run for a while."""
    try:
        for pid in pids:
            psutil.Process(pid).suspend()
        yield
    finally:
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).resume()


@contextmanager
def running(config: Config, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "cli", *words]
    with subprocess.Popen(command, env=environment(config), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("hang", [postgres, backends, redis, both])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_relay_ends(
    config: Config, own_postgres: PostgresServer, own_redis: RedisServer, hang: Hang, number: signal.Signals
) -> None:
    with running(config, "relay") as relay:
        assert relay.stderr is not None
        while "reconciled" not in relay.stderr.readline():
            assert relay.poll() is None
        with stopped(hang(own_postgres, own_redis)):
            relay.send_signal(number)
            assert relay.wait(PATIENCE) in (0, 3)
        assert "Traceback" not in relay.stderr.read()


@pytest.mark.parametrize("words", [("relay",), ("relay", "--once"), ("verify",), ("sync",)])
def test_a_command_amid_its_work_ends(
    config: Config, own_postgres: PostgresServer, own_redis: RedisServer, words: tuple[str, ...]
) -> None:
    with psycopg.connect(own_postgres.url) as holder, psycopg.connect(own_postgres.url, autocommit=True) as looker:
        holder.execute("lock user_settings, mirror_pending")
        with running(config, *words) as process:
            query = "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
            wait_until(lambda: bool(looker.execute(query, (holder.info.backend_pid,)).fetchall()))
            with stopped(postgres(own_postgres, own_redis)):
                process.send_signal(signal.SIGTERM)
                assert process.wait(PATIENCE) in (0, 3, 143)
