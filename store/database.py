"""PostgreSQL: a pool of connections, made when first used, and errors of ours only."""

from __future__ import annotations

import asyncio
import logging
import math
import select
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from store.calls import Call
from store.config import Config
from store.confinement import SETTING, Confinement
from store.errors import DatabaseError, DatabaseUnavailable, StoreError, from_postgres

Connection = psycopg.AsyncConnection[dict[str, Any]]
Explain = Callable[[psycopg.Error], StoreError | None]

# What is asked of each new connection.
GREETING = Call(f"select pg_backend_pid() as process, coalesce(current_setting('{SETTING}', true), '') as okx_uid", {})
PREPARE_AFTER = 5  # uses of a statement on a connection

# The pool reports each failed attempt as a warning; callers get one DatabaseUnavailable instead.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

log = logging.getLogger("store.database")


class Database:
    """PostgreSQL, through a pool that opens with the first statement."""

    def __init__(self, config: Config) -> None:
        assert config.database_url is not None
        self._config = config
        self._url = config.database_url
        self._pool = AsyncConnectionPool(
            config.database_url,
            connection_class=psycopg.AsyncConnection[dict[str, Any]],
            # Statements are prepared where _note() allows it. Autocommit: a statement is a transaction.
            kwargs={"row_factory": dict_row, "autocommit": True, "prepare_threshold": None},
            min_size=0,
            max_size=config.pool_size,
            timeout=config.db_timeout,
            reconnect_timeout=0,  # the next caller tries again; no backoff that outlives an outage
            configure=self._note,
            open=False,
            name="settings-store",
        )
        self.confinement = Confinement(config.database_url, self._greet)
        self._opening = asyncio.Lock()
        self._opened: WeakSet[Connection] = WeakSet()

    async def fetch(self, call: Call) -> Sequence[dict[str, Any]]:
        """Run a statement as a transaction of its own and return its rows; once more if it lost in a deadlock. Raises
        errors of ours only."""
        with translated() as failure:
            async with self._connection() as connection:
                try:
                    return await _rows(connection, call)
                except psycopg.errors.FeatureNotSupported:
                    if connection.prepare_threshold is None:
                        raise
                    connection.prepare_threshold = None  # a migration changed what a prepared statement returns
                except psycopg.errors.DeadlockDetected:
                    log.debug("a statement was given up for another; again")  # nothing of it was done
                return await _rows(connection, call)
        raise failure.error

    async def stream(self, call: Call, batch: int) -> AsyncGenerator[Sequence[dict[str, Any]], None]:
        """Read a statement's rows in batches, as of one moment, holding two of them at most."""
        with translated() as failure:
            async with (
                self._connection() as connection,
                _long_transaction(connection),
                connection.cursor(name="settings_store") as cursor,
            ):
                await cursor.execute(call.query, call.params)
                rows = await cursor.fetchmany(batch)
                while rows:
                    upcoming = asyncio.create_task(cursor.fetchmany(batch))  # while the caller works on these
                    try:
                        yield rows
                    finally:
                        await asyncio.gather(upcoming, return_exceptions=True)
                    rows = upcoming.result()
            return
        raise failure.error

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[Transaction]:
        """Run several statements as one transaction; with `snapshot`, read only and all as of one moment."""
        with translated() as failure:
            async with self._connection() as connection, _long_transaction(connection):
                if snapshot:
                    await connection.execute("set transaction isolation level repeatable read, read only")
                yield Transaction(connection)
            return
        raise failure.error

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection for statements of the caller's own, and take it back as it was: settings, temporary tables
        and locks of the session go."""
        with translated() as failure:
            async with self._connection() as connection:
                try:
                    yield connection
                finally:
                    if not connection.closed:
                        await connection.rollback()
                        await connection.execute("discard all")
            return
        raise failure.error

    def abandon(self) -> None:
        """Disconnect though the event loop is closed, and with it everybody who could have used a connection."""
        for connection in self._opened:
            connection.pgconn.finish()

    async def close(self) -> None:
        await self.confinement.close()
        if not self._pool.closed:
            await self._pool.close()

    async def _greet(self) -> None:
        """Make sure that a connection was made, and with it learnt whom the sessions are confined to."""
        with translated() as failure:
            async with self._connection():
                return
        raise failure.error

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Borrow a connection that is alive."""
        try:
            is_suspect = self._pool.closed or not self._pool.get_stats()["pool_size"]
            while True:
                if is_suspect:
                    await self._probe()
                async with self._pool.connection() as connection:
                    if await _is_alive(connection):
                        yield connection
                        return
                is_suspect = True
        except PoolTimeout:
            await self._probe()
            size, seconds = self._config.pool_size, self._config.db_timeout
            raise DatabaseUnavailable(f"PostgreSQL: all {size} connections were busy for {seconds:g} s") from None

    async def _note(self, connection: Connection) -> None:
        """Let statements be prepared where the server is at the other end. A pooler has a process ID of its own, and in
        transaction mode the next statement may go to a server that doesn't know what was prepared on another."""
        self._opened.add(connection)
        (row,) = await _rows(connection, GREETING)
        self.confinement.learn(row["okx_uid"])
        if row["process"] == connection.info.backend_pid:
            connection.prepare_threshold = PREPARE_AFTER

    async def _probe(self) -> None:
        """Connect once: if that fails, it says why at once, where the pool would only wait."""
        if self._pool.closed:
            async with self._opening:
                await self._pool.open()
        seconds = max(2, math.ceil(min(self._config.db_timeout, 60)))
        connection = await psycopg.AsyncConnection[dict[str, Any]].connect(
            self._url, connect_timeout=seconds, row_factory=dict_row, prepare_threshold=None
        )
        try:
            self.confinement.learn((await _rows(connection, GREETING))[0]["okx_uid"])
        finally:
            await connection.close()


@asynccontextmanager
async def _long_transaction(connection: Connection) -> AsyncIterator[None]:
    """Begin a transaction that may be idle, and take as long as it takes, whatever the server's setting."""
    async with connection.transaction():
        await connection.execute("set local idle_in_transaction_session_timeout = 0")
        if connection.info.server_version >= 170000:
            await connection.execute("set local transaction_timeout = 0")
        yield


async def _rows(connection: Connection, call: Call) -> list[dict[str, Any]]:
    return await (await connection.execute(call.query, call.params)).fetchall()


async def _is_alive(connection: Connection) -> bool:
    """Test a pooled connection, with a round trip only if the server has said something meanwhile, as it
    does when it shuts down. A dead one is closed, and the pool drops it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        await AsyncConnectionPool.check_connection(connection)
    except psycopg.Error:
        await connection.close()
        return False
    return True


class Transaction:
    """A transaction under way. Raises errors of ours only; it can't go on after one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, call: Call) -> Sequence[dict[str, Any]]:
        """Run a statement and return its rows."""
        with translated() as failure:
            cursor = await self._connection.execute(call.query, call.params, prepare=False)
            return await cursor.fetchall() if cursor.description else []
        raise failure.error

    async def copy_out(self, statement: str) -> AsyncIterator[bytes]:
        """Run a COPY … TO STDOUT and yield what it sends."""
        with translated() as failure:
            async with self._connection.cursor().copy(statement.encode()) as copy:
                async for block in copy:
                    yield bytes(block)
            return
        raise failure.error

    async def copy_in(
        self, statement: str, blocks: Iterator[bytes] | AsyncIterator[bytes], explain: Explain = lambda _: None
    ) -> None:
        """Run a COPY … FROM STDIN on these blocks. `explain` may know more of an error than its SQLSTATE says."""
        with translated(explain) as failure:
            async with self._connection.cursor().copy(statement.encode()) as copy:
                if isinstance(blocks, AsyncIterator):
                    async for block in blocks:
                        await copy.write(block)
                else:
                    for block in blocks:
                        await copy.write(block)
            return
        raise failure.error


class _Failure:
    error: StoreError


@contextmanager
def translated(explain: Explain = lambda _: None) -> Iterator[_Failure]:
    """Catch what psycopg raises and hand the caller an error of ours to raise. Not raised here, where the
    original, which may quote values, would become its context."""
    failure = _Failure()
    try:
        yield failure
    except UnicodeEncodeError:
        failure.error = DatabaseError("a text must not contain a lone surrogate")
    except psycopg.Error as error:
        failure.error = explain(error) or from_postgres(error)
