"""Servers that a test may stop, pause or fill: its own, in a short temporary folder, ended by their ids."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import redis as redis_py

from store.operations import embedded
from store.sockets import redis_socket
from tests.servers.stacks import postgres

PATIENCE = 120.0  # seconds until a condition that never comes true fails a test


class RedisServer:
    """A Redis of the test's own, through store.operations.embedded."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ss-"))
        self.url = f"unix://{redis_socket(self.home)}"
        self._password: str | None = None
        self._paused: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.home)

    @property
    def pid(self) -> int:
        pid = embedded.redis_pid(self.home)
        assert pid is not None
        return pid

    def start(self) -> None:
        embedded.start_redis(self.home)

    def fill(self) -> None:
        """Save 40 MB in large keys: it answers while loading once in 2 MB."""
        with self.client() as client:
            client.config_set("rdbcompression", "no")
            for n in range(40):
                client.set(f"other:{n}", "x" * 1_000_000)
            client.save()

    def start_loading(self) -> None:
        """Start it so that it takes some seconds to load what fill() left."""
        socket, folder = redis_socket(self.home), self.home / "redis"
        subprocess.run(
            [
                embedded.redis_program("server"), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder),
                "--daemonize", "yes", "--pidfile", str(folder / "redis.pid"), "--logfile", str(folder / "redis.log"),
                "--appendonly", "no", "--key-load-delay", "100000",
            ],
            check=True,
        )  # fmt: skip
        wait_until(self.is_loading)

    def finish_loading(self) -> None:
        wait_until(lambda: not self.is_loading())

    def stop(self) -> None:
        """End it at once, by its id, its data saved as far as its settings have it."""
        self.resume()
        if embedded.redis_pid(self.home) is not None:
            process, asked = psutil.Process(self.pid), -inf

            def is_gone() -> bool:
                """Ask it again now and then: it refuses while it writes its AOF anew, after a resync, say."""
                nonlocal asked
                is_ended = has_ended(process)
                if not is_ended and time.monotonic() > asked + 2:
                    process.terminate()
                    asked = time.monotonic()
                return is_ended

            wait_until(is_gone)

    def pause(self) -> None:
        """Make it hang: it keeps its connections and answers nothing."""
        self._paused = self.pid
        os.kill(self._paused, signal.SIGSTOP)
        wait_until(lambda: psutil.Process(self._paused).status() == psutil.STATUS_STOPPED)

    def resume(self) -> None:
        if self._paused is not None:
            os.kill(self._paused, signal.SIGCONT)
            self._paused = None

    def require_password(self, password: str | None) -> None:
        with self.client() as client:
            client.config_set("requirepass", password or "")
            client.client_kill_filter(_type="normal", skipme=True)  # who is connected needn't log in
        self._password = password

    def client(self) -> redis_py.Redis:
        return redis_py.Redis.from_url(self.url, password=self._password, decode_responses=True)

    def content(self) -> dict[str, bytes]:
        """Everything it holds."""
        with self.client() as client:
            return {str(key): bytes(client.dump(key) or b"") for key in client.scan_iter()}

    def restore(self, content: dict[str, bytes]) -> None:
        """Have it hold what it held once, as the same process."""
        with self.client() as client, client.pipeline() as pipeline:
            pipeline.flushall()
            for key, value in content.items():
                pipeline.restore(key, 0, value)
            pipeline.execute()

    def is_loading(self) -> bool:
        try:
            with self.client() as client:
                client.ping()
        except redis_py.BusyLoadingError:
            return True
        except redis_py.ConnectionError:  # not yet listening
            return False
        return False


class PostgresServer:
    """A PostgreSQL of the test's own: embedded, or the stack's."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ss-"))
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.home)

    def start(self) -> None:
        """Start it unless it runs."""
        self.url = postgres.start(self.home)

    def stop(self) -> None:
        postgres.stop(self.home)

    def crash(self) -> None:
        """Make it abort, as after the crash of a backend: no goodbye to its clients, recovery at the next start."""
        pid = embedded.postgres_pid(self.home)
        assert pid is not None
        process = psutil.Process(pid)
        process.send_signal(signal.SIGQUIT)
        gone(process)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition of another process, which can only be polled."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Await a condition of another process, which can only be polled."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.01)


def gone(process: psutil.Process) -> None:
    """Wait until a process has ended."""
    wait_until(lambda: has_ended(process))


def has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
