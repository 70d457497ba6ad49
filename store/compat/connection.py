"""asyncpg's calls, on a connection of psycopg's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import count
from types import TracebackType
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncRawCursor, Rollback
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper, Loader
from psycopg.pq import TransactionStatus
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.string import TextLoader

from store.errors import DatabaseError, InvalidArgument, StoreError
from store.postgres import database
from store.postgres.errors import MISSING, UNREADABLE

PREFETCH = 50  # rows that `async for` on a cursor fetches at a time, as asyncpg's does
ISOLATION = {"read_uncommitted", "read_committed", "repeatable_read", "serializable"}


class Record(tuple[Any, ...]):
    """A row: a tuple of values, which are found by name, too. `in` looks for a name. Of two columns with one name the
    last is found by it."""

    _names: tuple[str, ...] = ()
    _positions: dict[str, int] = {}  # noqa: RUF012 # one for all rows of a result

    def __getitem__(self, key: Any) -> Any:
        return tuple.__getitem__(self, self._positions[key] if isinstance(key, str) else key)

    def __contains__(self, name: object) -> bool:
        return name in self._positions

    def __repr__(self) -> str:
        return f"<{' '.join(['Record', *(f'{name}={value!r}' for name, value in self.items())])}>"

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a column; the default, if there is no such column."""
        return default if name not in self._positions else self[name]

    def keys(self) -> Iterator[str]:
        """Iterate over the names of the columns."""
        return iter(self._names)

    def values(self) -> Iterator[Any]:
        """Iterate over the values."""
        return iter(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Iterate over pairs of name and value."""
        return zip(self._names, self, strict=True)


class _Untyped(Dumper):
    """Writes a value as text. PostgreSQL tells its type by its place in the statement, as it does for asyncpg."""

    def dump(self, obj: Any) -> Buffer | None:
        return str(obj.value if isinstance(obj, Enum) else obj).encode()


class _BoolDumper(_Untyped):
    """Writes a bool as a number, which will do for a boolean, too."""

    def dump(self, obj: bool) -> Buffer | None:
        return b"%d" % obj


class _TimeDumper(_Untyped):
    """Writes dates and times. Without a time zone they are this computer's, if PostgreSQL wants to know; where it
    doesn't, it ignores the offset."""

    def dump(self, obj: date) -> Buffer | None:
        if obj in (date.max, datetime.max):
            return b"infinity"
        if obj in (date.min, datetime.min):
            return b"-infinity"
        at = obj if isinstance(obj, datetime) else datetime.combine(obj, time())
        return str(at if at.tzinfo else at.astimezone()).encode()


class _DurationDumper(_Untyped):
    def dump(self, obj: timedelta) -> Buffer | None:
        return f"{obj.days} days {obj.seconds} seconds {obj.microseconds} microseconds".encode()


class _DateLoader(DateLoader):
    """Reads dates; those that are infinite as the greatest and the least one."""

    def load(self, data: Buffer) -> date:
        return {b"infinity": date.max, b"-infinity": date.min}.get(bytes(data)) or super().load(data)


class _TimestampLoader(TimestampLoader):
    """Reads times without a time zone, as dates are read."""

    def load(self, data: Buffer) -> datetime:
        return _INFINITE.get(bytes(data)) or super().load(data)


class _TimestamptzLoader(TimestamptzLoader):
    """Reads times in UTC, whatever the session's time zone is."""

    def load(self, data: Buffer) -> datetime:
        return _INFINITE.get(bytes(data)) or super().load(data).astimezone(UTC)


class _BytesLoader(Loader):
    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class _VoidLoader(Loader):
    def load(self, _: Buffer) -> None:
        return None


_INFINITE = {b"infinity": datetime.max, b"-infinity": datetime.min}
_ADAPTERS = AdaptersMap(psycopg.adapters)
_DUMPERS: dict[type, type[Dumper]] = {
    **dict.fromkeys((int, float, Decimal, UUID, time), _Untyped),
    bool: _BoolDumper, date: _TimeDumper, datetime: _TimeDumper, timedelta: _DurationDumper,
}  # fmt: skip
for _type, _dumper in _DUMPERS.items():
    _ADAPTERS.register_dumper(_type, _dumper)
for _name, _loader in (
    ("json", TextLoader), ("jsonb", TextLoader), ("date", _DateLoader), ("timestamp", _TimestampLoader),
    ("timestamptz", _TimestamptzLoader), ('"char"', _BytesLoader), (2278, _VoidLoader),
):  # fmt: skip
    _ADAPTERS.register_loader(_name, _loader)


class _RecordCursor(AsyncRawCursor[Record]):
    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


def _to_records(cursor: Any) -> Any:
    """Make psycopg's rows Records."""
    names = tuple(column.name for column in cursor.description or ())
    positions = {name: i for i, name in enumerate(names)}

    def to_record(values: Sequence[Any]) -> Record:
        record = Record(values)
        record._names, record._positions = names, positions
        return record

    return to_record


class Connection:
    """A connection that takes asyncpg's calls, with $1 placeholders; json and jsonb are text, times are in UTC.

    `timeout` is in seconds; TimeoutError ends the statement. Otherwise raises exceptions of `store.errors` only.
    """

    def __init__(self, connection: database.Connection) -> None:
        self._borrowed: database.Connection | None = connection
        self._cursors = count(1)

    @property
    def _connection(self) -> database.Connection:
        if self._borrowed is None:
            raise InvalidArgument("the connection was given back to the pool")
        return self._borrowed

    def _end(self) -> None:
        """Be of no use any more: the connection is somebody else's now."""
        self._borrowed = None

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:
        """Run a statement, or several without arguments; return the status of the last, such as `UPDATE 1`."""
        cursor = await self._run(query, arguments, timeout)
        while cursor.nextset():
            pass
        return cursor.statusmessage or ""

    async def executemany(
        self, command: str, arguments: Iterable[Sequence[Any]], *, timeout: float | None = None
    ) -> None:
        """Run a statement once for each sequence of arguments; all or none."""
        with database.translated(_explain) as failure:
            async with asyncio.timeout(timeout), self._connection.transaction():
                await self._cursor().executemany(command, [_flat(each) for each in arguments])
            return
        raise failure.error

    async def fetch(self, query: str, *arguments: Any, timeout: float | None = None) -> list[Record]:
        """Run a statement and return its rows."""
        cursor = await self._run(query, arguments, timeout)
        return await cursor.fetchall() if cursor.description else []

    async def fetchrow(self, query: str, *arguments: Any, timeout: float | None = None) -> Record | None:
        """Run a statement and return its first row; None if there is none."""
        rows = await self.fetch(query, *arguments, timeout=timeout)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *arguments: Any, column: int | str = 0, timeout: float | None = None) -> Any:
        """Run a statement and return one value of its first row; None if there is none."""
        row = await self.fetchrow(query, *arguments, timeout=timeout)
        return None if row is None else row[column]

    def cursor(
        self, query: str, *arguments: Any, prefetch: int | None = None, timeout: float | None = None
    ) -> CursorFactory:
        """Read the rows of a `select` in portions: `async for row in …`, or `cursor = await …`. In a transaction."""
        return CursorFactory(self, f"settings_store_{next(self._cursors)}", query, arguments, prefetch, timeout)

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Transaction:
        """Begin a transaction, nested a savepoint: `async with …`, or by start(), commit() and rollback()."""
        if isolation not in {*ISOLATION, None}:
            raise InvalidArgument(f"isolation must be one of {', '.join(sorted(ISOLATION))}")
        level = [f"isolation level {isolation.replace('_', ' ')}"] if isolation else []
        modes = [*level, *["read only"] * readonly, *["deferrable"] * deferrable]
        return Transaction(self._connection, ", ".join(modes))

    def is_in_transaction(self) -> bool:
        """Tell whether a transaction is under way."""
        return self._connection.info.transaction_status != TransactionStatus.IDLE

    def _cursor(self) -> AsyncRawCursor[Record]:
        return _RecordCursor(self._connection, row_factory=_to_records)

    async def _run(self, query: str, arguments: Sequence[Any], timeout: float | None = None) -> AsyncRawCursor[Record]:
        if query.split(maxsplit=1)[:1] in (["copy"], ["COPY"]):
            raise InvalidArgument("COPY is not for this connection: by psycopg, or in psql")
        with database.translated(_explain) as failure:
            async with asyncio.timeout(timeout):
                return await self._cursor().execute(query, _flat(arguments) or None)
        raise failure.error


def _explain(error: psycopg.Error) -> StoreError | None:
    """Say what is wrong with a statement that isn't the store's."""
    if error.sqlstate in UNREADABLE:
        return DatabaseError(f"PostgreSQL can't read a value as what it has to be in this statement ({error.sqlstate})")
    if error.sqlstate in MISSING:
        return DatabaseError(f"PostgreSQL: {error.diag.message_primary} ({error.sqlstate})")
    return None


def _flat(arguments: Sequence[Any]) -> list[Any]:
    """Make lists, which psycopg writes as arrays, of what asyncpg takes for arrays."""
    return [list(value) if isinstance(value, tuple | set | frozenset) else value for value in arguments]


class CursorFactory:
    """What cursor() returns: to be iterated over, or awaited for a Cursor."""

    def __init__(
        self, connection: Connection, name: str, query: str, arguments: Sequence[Any],
        prefetch: int | None, timeout: float | None,
    ) -> None:  # fmt: skip
        self._cursor = Cursor(connection, name)
        self._declaring = f"declare {name} no scroll cursor for {query}", arguments, timeout
        self._prefetch = prefetch or PREFETCH
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[Record]:
        cursor = await self
        while rows := await cursor.fetch(self._prefetch):
            for row in rows:
                yield row

    def __await__(self) -> Generator[Any, None, Cursor]:
        return self._declare().__await__()

    async def _declare(self) -> Cursor:
        await self._connection._run(*self._declaring)
        return self._cursor


class Cursor:
    """A position among the rows of a query; it ends with the transaction."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def fetch(self, n: int, *, timeout: float | None = None) -> list[Record]:
        """Return the next n rows; fewer at the end."""
        return await self._connection.fetch(f"fetch forward {_positive(n)} from {self._name}", timeout=timeout)

    async def fetchrow(self, *, timeout: float | None = None) -> Record | None:
        """Return the next row; None at the end."""
        return await self._connection.fetchrow(f"fetch forward 1 from {self._name}", timeout=timeout)

    async def forward(self, n: int, *, timeout: float | None = None) -> int:
        """Skip n rows; return how many there were to skip."""
        status = await self._connection.execute(f"move forward {_positive(n)} from {self._name}", timeout=timeout)
        return int(status.split()[-1])


def _positive(n: int) -> int:
    if n <= 0:
        raise InvalidArgument("n must be greater than zero")
    return n


class Transaction:
    """A transaction, or a savepoint in one."""

    def __init__(self, connection: database.Connection, modes: str) -> None:
        self._connection = connection
        self._modes = modes
        self._context: AbstractAsyncContextManager[object] | None = None

    async def start(self) -> None:
        """Begin it."""
        if self._context is not None:
            raise InvalidArgument("the transaction was begun before")
        self._context = self._connection.transaction()
        with database.translated() as failure:
            await self._context.__aenter__()
            if not self._modes:
                return
            try:
                await self._connection.execute(f"set transaction {self._modes}".encode())
                return
            except BaseException as error:
                await self._context.__aexit__(type(error), error, error.__traceback__)
                raise
        raise failure.error

    async def commit(self) -> None:
        """Keep what was done."""
        await self._end()

    async def rollback(self) -> None:
        """Undo what was done."""
        await self._end(Rollback())

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._end(error)

    async def _end(self, error: BaseException | None = None) -> None:
        if self._context is None:
            raise InvalidArgument("the transaction is not under way")
        context, self._context = self._context, None
        with database.translated() as failure:
            await context.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
            return
        raise failure.error
