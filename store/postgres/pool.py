"""Connections of a store to PostgreSQL: opened as needed, never more than so many, lent in the order of asking.

By hand, and not psycopg_pool: that one opens connections in the background, so a caller learns neither why there is
none nor, after a moment's outage, that PostgreSQL is back. Here a caller without a connection opens one, and hears the
reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from store.errors import DatabaseBusy, DatabaseError, DatabaseUnavailable

Connection = psycopg.AsyncConnection[dict[str, Any]]

# What a transaction of several statements relies on, set for itself alone. The work is long, and goes on between
# statements: the limits that were set for a single one, or for a session that idles, are not for it; only a client that
# is gone ends it, also while it waits for a lock (on Linux, where PostgreSQL can tell). By name, as older servers don't
# know all.
SETTLE = """
    select pg_catalog.set_config(s.name, v.value, true)
      from pg_catalog.pg_settings s
      join (values ('search_path', 'public, pg_temp'), ('datestyle', 'ISO, YMD'),
                   ('intervalstyle', 'postgres'), ('timezone', 'UTC'),
                   ('standard_conforming_strings', 'on'), ('row_security', 'on'), ('quote_all_identifiers', 'off'),
                   ('array_nulls', 'on'), ('transform_null_equals', 'off'),
                   ('statement_timeout', '0'), ('lock_timeout', '0'), ('transaction_timeout', '0'),
                   ('idle_in_transaction_session_timeout', '0'),
                   ('client_connection_check_interval', case when pg_catalog.version() ~ 'linux' then '2s' else '0' end)
                  ) as v (name, value) on v.name = lower(s.name)"""

UNUSED = 600.0  # seconds until an idle connection is closed
LIFETIME = 3600.0  # seconds until a connection is replaced: so that a server that came back gets its share


class Pool:
    """At most `size` connections. Who finds all lent waits at most `timeout` seconds."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int, timeout: float) -> None:
        self._connect = connect
        self._size = size
        self._timeout = timeout
        self._turns = asyncio.Semaphore(size)  # a turn is the right to have a connection, an idle one or a new one
        self._idle: list[tuple[Connection, float]] = []  # since when; the last used last
        self._born: dict[Connection, float] = {}  # those there are
        self._lent = self._opening = 0
        self._changed = asyncio.Event()  # there is an idle one, or one fewer lent or opening
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection that is alive. Raises DatabaseBusy, DatabaseUnavailable, and what connecting raises."""
        await self._turn()
        try:
            connection = await self._take()
            self._lent += 1
            try:
                yield connection
            finally:
                self._lent -= 1
                await self._give_back(connection)
                self._changed.set()
        finally:
            self._turns.release()

    async def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        while self._idle:
            await self._end(self._idle.pop()[0])

    def abandon(self) -> None:
        """Disconnect though the event loop is closed, and with it everybody who could have used a connection."""
        self._is_closed = True
        for connection in self._born:
            connection.pgconn.finish()

    async def _turn(self) -> None:
        if not self._turns.locked():
            await self._turns.acquire()
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._turns.acquire()
        except TimeoutError:
            if self._lent:
                raise DatabaseBusy(
                    f"PostgreSQL: all {self._size} connections were busy for {self._timeout:g} s",
                    hint="DB_POOL_SIZE says how many there are, DB_TIMEOUT how long to wait for one.",
                ) from None
            raise DatabaseUnavailable(f"PostgreSQL can't be reached: no answer for {self._timeout:g} s") from None

    async def _take(self) -> Connection:
        """Take an idle connection, else open one. Where PostgreSQL refuses that (its limit of connections is reached,
        say), one of those that are lent will do."""
        while not self._is_closed:
            while self._idle:
                connection, _ = self._idle.pop()
                if await self._is_alive(connection):
                    return connection
            try:
                return await self._open()
            except psycopg.OperationalError:
                if not await self._wait_for_another():
                    raise
        raise DatabaseUnavailable("the store was closed")

    async def _open(self) -> Connection:
        self._opening += 1
        try:
            connection = await self._connect()
            self._born[connection] = time.monotonic()
            return connection
        finally:
            self._opening -= 1
            self._changed.set()

    async def _wait_for_another(self) -> bool:
        """Wait for one of the other connections to come back, and tell whether one did."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                while not self._idle and (self._lent or self._opening):
                    self._changed.clear()
                    await self._changed.wait()
        return bool(self._idle)

    async def _give_back(self, connection: Connection) -> None:
        now = time.monotonic()
        is_clean = connection.info.transaction_status == TransactionStatus.IDLE  # else a cancelled task left it so
        if self._is_closed or not is_clean or now - self._born[connection] > LIFETIME:
            await self._end(connection)
            return
        self._idle.append((connection, now))
        if self._sweeper is None:
            self._sweep_later()

    async def _is_alive(self, connection: Connection) -> bool:
        """Test an idle connection, with a round trip only if the server has said something meanwhile, as it does when
        it shuts down. A dead one is closed."""
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if not poll.poll(0):
            return True
        try:
            await connection.execute("")
        except psycopg.Error:
            await self._end(connection)
            return False
        except BaseException:
            await self._end(connection)
            raise
        return True

    async def _end(self, connection: Connection) -> None:
        self._born.pop(connection, None)
        await connection.close()

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(UNUSED, self._sweep)

    def _sweep(self) -> None:
        """Close what nobody has used for long."""
        self._sweeper = None
        while self._idle and self._idle[0][1] <= time.monotonic() - UNUSED:
            connection, _ = self._idle.pop(0)
            del self._born[connection]
            connection.pgconn.finish()
        if self._idle:
            self._sweep_later()


def conninfo(url: str, application: str, **options: Any) -> str:
    """Complete a connection string by what every connection of ours says of itself, in a form that poolers take, too:
    texts are UTF-8, and who we are, unless the URL or PGAPPNAME says so. Nothing goes into `options`: these are the
    user's (a confinement, say), and poolers refuse them."""
    given = conninfo_to_dict(url)
    given.setdefault("fallback_application_name", application)
    return make_conninfo("", **{**given, "client_encoding": "UTF8", **options})


def check_encoding(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Refuse a database that can't hold every text. Raises DatabaseError."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        raise DatabaseError(
            f"the database {connection.info.dbname} has the encoding {encoding}; the store needs UTF8",
            hint="Make another: create database settings template template0 encoding 'UTF8'",
        )


def seconds_to_connect(timeout: float) -> int:
    """Return what libpq takes as connect_timeout: whole seconds, at least 2."""
    return max(2, math.ceil(min(timeout, 60)))
