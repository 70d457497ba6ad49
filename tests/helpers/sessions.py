"""Several sessions at once: statements in threads; a wait is seen in pg_stat_activity, never slept over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.conftest import Rows

Connection = psycopg.Connection[dict[str, Any]]
Parameters = Sequence[Any] | Mapping[str, Any]
Statement = tuple[str, Parameters]

DEADLINE = 30.0  # seconds until a condition that doesn't come true fails the test


def fetch(connection: Connection, query: str, parameters: Parameters = ()) -> Rows:
    """Run a query; return its rows, none if it isn't one that has rows."""
    cursor = connection.execute(query, parameters)
    rows: Rows = cursor.fetchall() if cursor.description else []
    return rows


def one(connection: Connection, query: str, parameters: Parameters = ()) -> dict[str, Any]:
    """Run a query that has exactly one row; return it."""
    (row,) = fetch(connection, query, parameters)
    return row


def value(connection: Connection, query: str, parameters: Parameters = ()) -> Any:
    """Run a query that has exactly one row of one column; return its value."""
    (found,) = one(connection, query, parameters).values()
    return found


@contextmanager
def refused(*states: str) -> Iterator[pytest.ExceptionInfo[psycopg.Error]]:
    """Expect an error with one of these SQLSTATEs."""
    with pytest.raises(psycopg.Error) as error:
        yield error
    assert error.value.sqlstate in states, f"{error.value.sqlstate}: {error.value}"


def at_once(connect: Callable[[], Connection], statements: Sequence[Statement]) -> list[Rows]:
    """Run each statement in a session of its own, all of them started at the same moment."""
    connections = [connect() for _ in statements]
    barrier = threading.Barrier(len(statements))

    def run(connection: Connection, statement: Statement) -> Rows:
        barrier.wait(DEADLINE)
        return fetch(connection, *statement)

    with ThreadPoolExecutor(len(statements)) as pool:
        return list(pool.map(run, connections, statements))


class Session:
    """A connection with a thread, so that the test goes on while a statement of it waits for a lock."""

    def __init__(self, connection: Connection, watcher: Connection) -> None:
        self.connection = connection
        self._watcher = watcher
        self._thread = ThreadPoolExecutor(1)

    def run(self, query: str, parameters: Parameters = ()) -> Rows:
        """Run a statement that needn't wait for anybody."""
        return self._thread.submit(fetch, self.connection, query, parameters).result(DEADLINE)

    def run_blocked(self, query: str, parameters: Parameters = ()) -> Future[Rows]:
        """Start a statement and come back as soon as it waits for a lock."""
        future = self._thread.submit(fetch, self.connection, query, parameters)
        deadline = time.monotonic() + DEADLINE
        while not self._waits():
            if future.done():
                pytest.fail(f"did not wait for a lock, but ended with {future.exception() or future.result()}")
            if time.monotonic() > deadline:
                pytest.fail("neither waits for a lock nor ends")
            time.sleep(0.002)
        return future

    def start(self, query: str, parameters: Parameters = ()) -> Future[Rows]:
        """Start a statement that may wait or not."""
        return self._thread.submit(fetch, self.connection, query, parameters)

    def close(self) -> None:
        """Give up what is still running."""
        self.connection.cancel()
        self._thread.shutdown(wait=True)
        if not self.connection.closed:
            self.connection.rollback()

    def _waits(self) -> bool:
        query = "select wait_event_type = 'Lock' as waits from pg_stat_activity where pid = %s"
        return bool(value(self._watcher, query, (self.connection.info.backend_pid,)))
