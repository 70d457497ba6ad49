"""TimescalePool: the pool of the store's predecessor, by its names, and the calls of asyncpg on its connections.

The one place with global state: the open store of each event loop, for code that has nowhere to keep one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncRawCursor
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from store.api.store import SettingsStore
from store.config import Config, names
from store.errors import ConfigError
from store.postgres import database

Row = dict[str, Any]


class Connection:
    """A connection that takes asyncpg's calls: execute, fetch, fetchrow and fetchval with $1 placeholders, transaction.

    A row is a dict; json and jsonb are text in it, as asyncpg has them. Raises exceptions of `store.errors` only.
    """

    def __init__(self, connection: database.Connection) -> None:
        self._connection = connection

    async def execute(self, query: str, *arguments: Any) -> str:
        """Run a statement, or several without arguments; return the status of the last, such as `UPDATE 1`."""
        return (await self._run(query, arguments)).statusmessage or ""

    async def fetch(self, query: str, *arguments: Any) -> list[Row]:
        """Run a statement and return its rows."""
        cursor = await self._run(query, arguments)
        return await cursor.fetchall() if cursor.description else []

    async def fetchrow(self, query: str, *arguments: Any) -> Row | None:
        """Run a statement and return its first row; None if there is none."""
        rows = await self.fetch(query, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *arguments: Any, column: int = 0) -> Any:
        """Run a statement and return one value of its first row; None if there is none."""
        row = await self.fetchrow(query, *arguments)
        return None if row is None else list(row.values())[column]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Run what is inside as one transaction; nested, as a savepoint."""
        with database.translated() as failure:
            async with self._connection.transaction():
                yield
            return
        raise failure.error

    async def _run(self, query: str, arguments: tuple[Any, ...]) -> AsyncRawCursor[Row]:
        with database.translated() as failure:
            cursor = AsyncRawCursor(self._connection, row_factory=dict_row)
            for name in ("json", "jsonb"):
                cursor.adapters.register_loader(name, TextLoader)
            return await cursor.execute(query, arguments or None)
        raise failure.error


class Pool:
    """The connections of an open store."""

    def __init__(self, store: SettingsStore) -> None:
        self.store = store

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Borrow a connection for SQL of one's own. Raises DatabaseUnavailable."""
        async with self.store.stores.database.connection() as connection:
            yield Connection(connection)

    def get_max_size(self) -> int:
        """Return how many connections may be open at once."""
        return self.store.config.db_pool_size


class TimescalePool:
    """The pool of this event loop, made when first asked for, from the environment (Config.from_env())."""

    _pools: dict[asyncio.AbstractEventLoop, asyncio.Task[Pool]] = {}  # noqa: RUF012 # see the module

    @classmethod
    async def get_pool(cls) -> Pool:
        """Return the pool; callers that want the first one at the same time get the same. Raises ConfigError."""
        loop = asyncio.get_running_loop()
        if loop not in cls._pools:
            cls._pools[loop] = loop.create_task(_open())
            await cls._forget_closed_loops()
        opening = cls._pools[loop]
        try:
            return await asyncio.shield(opening)  # a caller who gives up doesn't take it from the others
        finally:
            if opening.done() and (opening.cancelled() or opening.exception()) and cls._pools.get(loop) is opening:
                del cls._pools[loop]  # the next caller tries again

    @classmethod
    @asynccontextmanager
    async def acquire(cls) -> AsyncIterator[Connection]:
        """Borrow a connection for SQL of one's own. Raises DatabaseUnavailable, ConfigError."""
        pool = await cls.get_pool()
        async with pool.acquire() as connection:
            yield connection

    @classmethod
    async def close_pool(cls) -> None:
        """Close the pool, if there is one; the next use makes another."""
        await cls._forget_closed_loops()
        opening = cls._pools.pop(asyncio.get_running_loop(), None)
        if opening is not None:
            await (await opening).store.close()

    @classmethod
    async def _forget_closed_loops(cls) -> None:
        """Disconnect what an event loop left open that ended without close_pool()."""
        for loop in [loop for loop in list(cls._pools) if loop.is_closed()]:
            opening = cls._pools.pop(loop, None)
            if opening and opening.done() and not opening.cancelled() and not opening.exception():
                await opening.result().store.close()


async def _open() -> Pool:
    config = Config.from_env()
    for url, theirs in (("database_url", "TIMESCALE_HOST"), ("redis_url", "REDIS_HOST")):
        if getattr(config, url) is None and os.environ.get(theirs):  # not the embedded server: nobody would look there
            ours = config.variable(url)
            hint = f"{theirs} is: put the server it names into {ours} or {names(ours)[0]}."
            raise ConfigError(f"{ours} is not set", hint=hint)
    return Pool(await SettingsStore(config).open())
