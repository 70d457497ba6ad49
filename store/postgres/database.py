"""PostgreSQL: statements and transactions on pooled connections, and errors of ours only.

Nothing here depends on how a session is set: results come in binary form, which no DateStyle, IntervalStyle or
bytea_output changes, functions are called by their schema, and a transaction says its isolation level. So nothing has
to be set for a session, which a pooler would hand to others.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.rows import dict_row

from store.config import Config
from store.errors import DatabaseBusy, DatabaseError, StoreError
from store.postgres.call import Call
from store.postgres.confinement import SETTING, Confinement
from store.postgres.errors import from_postgres
from store.postgres.pool import SETTLE, Pool, check_encoding, conninfo, seconds_to_connect
from store.postgres.pool import Connection as Connection

Explain = Callable[[psycopg.Error], StoreError | None]

PREPARE_AFTER = 5  # uses of a statement on a connection
TRIES = 6  # at a statement that loses to others: in a deadlock, or by the database's isolation level
PAUSE = 0.01  # seconds at most before the second try; then twice as long each time

# Who holds a lock on a table of ours, of those that the error names (its first), and doesn't wait for one.
HOLDERS = """
    select c.relname::text as relation, a.pid, concat_ws(', ', a.usename, nullif(a.application_name, '')) as who
      from pg_catalog.pg_locks l
      join pg_catalog.pg_class c on c.oid = l.relation
      join pg_catalog.pg_stat_activity a on a.pid = l.pid
     where l.granted and l.mode <> 'AccessShareLock' and l.pid <> pg_catalog.pg_backend_pid()
       and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
       and c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname = any (%(words)s)
       and not exists (select from pg_catalog.pg_locks w where w.pid = l.pid and not w.granted)
     group by 1, 2, 3
     order by pg_catalog.array_position(%(words)s, c.relname::text), a.pid"""

# What is asked of each new connection.
GREETING = Call(
    f"""
    select pg_catalog.pg_backend_pid() as process,
           pg_catalog.current_setting('default_transaction_isolation') = 'read committed' as is_usual,
           coalesce(pg_catalog.current_setting('{SETTING}', true), '') as okx_uid""",
    {},
)

# What `discard all` does, but for the statements that psycopg has prepared and goes on to use; those that the borrower
# has prepared go.
RETURNED = """
    close all; set session authorization default; reset all; unlisten *; select pg_catalog.pg_advisory_unlock_all();
    discard plans; discard temp; discard sequences;
    do $$
    declare
        v_name text;
    begin
        for v_name in select s.name from pg_catalog.pg_prepared_statements s where s.from_sql loop
            execute pg_catalog.format('deallocate %I', v_name);
        end loop;
    end
    $$"""

log = logging.getLogger("store.database")


class Database:
    """PostgreSQL, through a pool that opens with the first statement."""

    def __init__(self, config: Config) -> None:
        assert config.database_url is not None
        self._config = config
        self._pool = Pool(self._connect, config.db_pool_size, config.db_timeout)
        self.confinement = Confinement(config.database_url, self._greet)

    async def fetch(self, call: Call) -> Sequence[dict[str, Any]]:
        """Run a statement as a transaction of its own and return its rows; again if it lost to others. One that saves
        waits for their transactions as long as configured, then raises DatabaseBusy. Raises errors of ours only."""
        call = self._patient(call)
        with translated() as failure:
            async with self._pool.connection() as connection:
                try:
                    return await _persist(connection, call)
                except psycopg.errors.LockNotAvailable as error:
                    context = f"{error.diag.context}"
                words = re.findall(r"\w+", context)
                failure.error = _busy(await _rows(connection, Call(HOLDERS, {"words": words})), call)
        raise failure.error

    def _patient(self, call: Call) -> Call:
        """Say how long a statement that saves waits for others' transactions."""
        if not call.is_patient:
            return call
        return replace(call, params={**call.params, "lock_timeout": f"{self._config.db_lock_timeout * 1000:.0f}ms"})

    async def stream(self, call: Call, batch: int) -> AsyncGenerator[Sequence[dict[str, Any]], None]:
        """Read a statement's rows in batches, as of one moment, holding two of them at most. One that saves has done so
        when the first rows come, and is committed after the last. It is run again if it lost to others."""
        call = self._patient(call)
        with translated() as failure:
            async with (
                self._pool.connection() as connection,
                _first(connection, call, batch) as (cursor, rows),
            ):
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
        """Run several statements as one transaction; with `snapshot`, read only and all as of one moment. No timeout of
        the session's ends it, and it waits for others as long as it takes."""
        with translated() as failure:
            async with self._pool.connection() as connection, connection.transaction():
                await _begin(connection, snapshot)
                yield Transaction(connection)
            return
        raise failure.error

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection for statements of the caller's own, and take it back as it was: settings, temporary tables
        and locks of the session go. It has the user's settings; but for how times are written, which psycopg must read.
        """
        with translated() as failure:
            async with self._pool.connection() as connection:
                usual = connection.isolation_level
                await connection.set_isolation_level(None)
                for name, style in (("DateStyle", "ISO"), ("IntervalStyle", "postgres")):
                    if not (connection.info.parameter_status(name) or style).startswith(style):
                        await connection.execute(f"set {name} = '{style}'".encode())
                try:
                    yield connection
                finally:
                    if not connection.closed:
                        await connection.rollback()
                        await connection.execute(RETURNED, prepare=False)
                        await connection.set_isolation_level(usual)
            return
        raise failure.error

    async def listener(self) -> Listener | None:
        """Connect once more, besides the pool, to be notified; None if a pooler is at the other end, which would have
        another server's connection listen, or none."""
        with translated() as failure:
            connection = await self._connect()
            if connection.prepare_threshold is not None:  # see _connect()
                return Listener(connection)
            await connection.close()
            return None
        raise failure.error

    def abandon(self) -> None:
        """Disconnect though the event loop is closed, and with it everybody who could have used a connection."""
        self._pool.abandon()

    async def close(self) -> None:
        await self.confinement.close()
        await self._pool.close()

    async def _greet(self) -> None:
        """Make sure that a connection was made, and with it learnt whom the sessions are confined to."""
        with translated() as failure:
            async with self._pool.connection():
                return
        raise failure.error

    async def _connect(self) -> Connection:
        """Connect. Statements are prepared where the server is at the other end: a pooler has a process ID of its own,
        and in transaction mode the next statement may go to a server that doesn't know what was prepared on another."""
        connection: Connection = await psycopg.AsyncConnection.connect(
            conninfo(self._config.database_url or "", self._config.application),
            connect_timeout=seconds_to_connect(self._config.db_timeout),
            autocommit=True,  # a statement is a transaction
            prepare_threshold=None,
            row_factory=dict_row,
        )
        try:
            check_encoding(connection)
            (row,) = await _rows(connection, GREETING)
            self.confinement.learn(row["okx_uid"])
            if row["process"] == connection.info.backend_pid:
                connection.prepare_threshold = PREPARE_AFTER
            if not row["is_usual"]:  # every statement has to begin a transaction of the level it was written for
                await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
        except BaseException:
            await connection.close()
            raise
        return connection


@asynccontextmanager
async def _server_cursor(connection: Connection) -> AsyncIterator[psycopg.AsyncServerCursor[dict[str, Any]]]:
    """Open a cursor that the server keeps. psycopg leaves it open, and warns of that, where it is cancelled as it
    closes it, or the connection turns out to be lost: on this side, too, it ends with its transaction."""
    cursor = connection.cursor(name="settings_store")
    try:
        async with cursor:
            yield cursor
    finally:
        await psycopg.AsyncCursor.close(cursor)


@asynccontextmanager
async def _first(connection: Connection, call: Call, batch: int) -> AsyncIterator[tuple[Any, list[dict[str, Any]]]]:
    """Open a cursor in a transaction and fetch its first rows; again, if the statement lost to others."""
    for attempt in range(TRIES):
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(connection.transaction())
            await _begin(connection, snapshot=not call.is_patient)
            cursor = await stack.enter_async_context(_server_cursor(connection))
            try:
                await cursor.execute(call.query, call.params, binary=True)
                rows = await cursor.fetchmany(batch)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                if attempt + 1 == TRIES:
                    raise
                raise psycopg.Rollback() from None
            yield cursor, rows
            return
        log.debug("a statement was given up for another; again")


async def _persist(connection: Connection, call: Call) -> list[dict[str, Any]]:
    """Run a statement, and again if nothing of it was done as it lost to others."""
    for attempt in range(TRIES):
        try:
            return await _run(connection, call)
        except psycopg.errors.FeatureNotSupported:
            if connection.prepare_threshold is None:
                raise
            connection.prepare_threshold = None  # a migration changed what a prepared statement returns
        except psycopg.errors.DeadlockDetected:
            log.debug("a statement was given up for another; again")
        except psycopg.errors.SerializationFailure:
            await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
            log.debug("a statement was refused for another's sake, as the isolation level isn't the usual one; again")
        await asyncio.sleep(random.uniform(0, PAUSE * 2**attempt))  # noqa: S311
    return await _run(connection, call)


async def _run(connection: Connection, call: Call) -> list[dict[str, Any]]:
    if connection.isolation_level is None:
        return await _rows(connection, call)
    async with connection.transaction():
        return await _rows(connection, call)


async def _begin(connection: Connection, snapshot: bool) -> None:
    """Say what a transaction is to be: the first in it."""
    level = "repeatable read, read only" if snapshot else "read committed"
    await connection.execute(f"set transaction isolation level {level}".encode())
    await connection.execute(SETTLE)


def _busy(holders: Sequence[dict[str, Any]], call: Call) -> DatabaseBusy:
    """Say what a statement waited for in vain."""
    relation = holders[0]["relation"] if holders else None
    what = f"rows of {relation}" if relation else "what this needs"
    where = "; ".join(f"process {row['pid']} ({row['who']})" for row in holders if row["relation"] == relation)
    waited = call.params.get("lock_timeout", "")
    return DatabaseBusy(
        f"another transaction holds {what}: nothing was done" + (f" after {waited} of waiting" if waited else ""),
        detail=f"of {where}" if where else None,
        hint="End that transaction, or wait longer: DB_LOCK_TIMEOUT.",
    )


async def _rows(connection: Connection, call: Call) -> list[dict[str, Any]]:
    return await (await connection.execute(call.query, call.params, binary=True)).fetchall()


class Transaction:
    """A transaction under way. Raises errors of ours only; it can't go on after one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, call: Call) -> Sequence[dict[str, Any]]:
        """Run a statement and return its rows."""
        with translated() as failure:
            cursor = await self._connection.execute(call.query, call.params, prepare=False, binary=True)
            return await cursor.fetchall() if cursor.description else []
        raise failure.error

    async def stream(self, call: Call, batch: int) -> AsyncGenerator[Sequence[dict[str, Any]], None]:
        """Run a statement that reads, and yield its rows in batches, holding one of them."""
        with translated() as failure:
            async with _server_cursor(self._connection) as cursor:
                await cursor.execute(call.query, call.params, binary=True)
                while rows := await cursor.fetchmany(batch):
                    yield rows
            return
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


class Listener:
    """A connection of its own, which the server notifies. `told` is set when it has, or when the server has said
    anything else. Raises errors of ours only; it can't go on after one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel: str | None = None
        self.told = asyncio.Event()
        connection.add_notify_handler(lambda _: self.told.set())  # of what comes with an answer

    async def listen(self, channel: str) -> None:
        """Have the server notify of what is sent to this channel, if it doesn't yet."""
        if channel == self._channel:
            return
        with translated() as failure:
            await self._connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            self._channel = channel
            return
        raise failure.error

    async def fetch(self, call: Call) -> Sequence[dict[str, Any]]:
        """Run a statement as a transaction of its own and return its rows, as Database.fetch() does."""
        with translated() as failure:
            return await _persist(self._connection, call)
        raise failure.error

    @contextmanager
    def hearing(self) -> Iterator[asyncio.Event]:
        """Set `told` as soon as the server says something, while no statement runs."""
        loop, at = asyncio.get_running_loop(), self._connection.fileno()
        loop.add_reader(at, self._hear, loop, at)
        try:
            yield self.told
        finally:
            loop.remove_reader(at)

    def _hear(self, loop: asyncio.AbstractEventLoop, at: int) -> None:
        loop.remove_reader(at)  # what it said is read with the next answer
        self.told.set()

    async def close(self) -> None:
        await self._connection.close()


class _Failure:
    error: StoreError


@contextmanager
def translated(explain: Explain = lambda _: None) -> Iterator[_Failure]:
    """Catch what psycopg raises and hand the caller an error of ours to raise. Not raised here, where the
    original, which may quote values, would become its context. What came of an interruption stays one."""
    failure = _Failure()
    try:
        yield failure
    except UnicodeEncodeError:
        failure.error = DatabaseError("a text must not contain a lone surrogate")
    except psycopg.Error as error:
        if (interruption := interrupted(error)) is not None:
            raise interruption from None
        failure.error = explain(error) or from_postgres(error)


def interrupted(error: BaseException) -> BaseException | None:
    """Find the Ctrl-C or cancellation that an error came of, when psycopg cleaned up after it."""
    context = error.__context__
    while context is not None and isinstance(context, Exception):
        context = context.__context__
    return context
