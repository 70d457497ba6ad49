"""TimescalePool: the pool of the store's predecessor, by its names and asyncpg's.

The one place with global state: the open store of each event loop, for code that has nowhere to keep one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Generator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from store.api.store import SettingsStore
from store.compat.connection import Connection, Record
from store.config import Config, names
from store.errors import ConfigError


class Lending:
    """A connection to be lent: `async with`, or `await`, and then release()."""

    def __init__(self, pool: Pool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._pool._lend(self._timeout).__await__()

    async def __aenter__(self) -> Connection:
        self._lent = await self
        return self._lent

    async def __aexit__(self, *_: object) -> None:
        await self._pool.release(self._lent)


class Pool:
    """The connections of an open store."""

    def __init__(self, store: SettingsStore) -> None:
        self.store = store
        self._lent: dict[Connection, AsyncExitStack] = {}

    def acquire(self, *, timeout: float | None = None) -> Lending:
        """Borrow a connection for SQL of one's own: `async with`, or `await` and release(). Raises DatabaseUnavailable,
        TimeoutError after `timeout` seconds."""
        return Lending(self, timeout)

    async def release(self, connection: Connection) -> None:
        """Give a connection back, and what it left open in the session away; nothing, if it was given back."""
        if connection in self._lent:
            connection._end()
            await self._lent.pop(connection).aclose()

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:
        """Borrow a connection for Connection.execute(); so do those below for theirs."""
        async with self.acquire() as connection:
            return await connection.execute(query, *arguments, timeout=timeout)

    async def executemany(
        self, command: str, arguments: Iterable[Sequence[Any]], *, timeout: float | None = None
    ) -> None:
        async with self.acquire() as connection:
            await connection.executemany(command, arguments, timeout=timeout)

    async def fetch(self, query: str, *arguments: Any, timeout: float | None = None) -> list[Record]:
        async with self.acquire() as connection:
            return await connection.fetch(query, *arguments, timeout=timeout)

    async def fetchrow(self, query: str, *arguments: Any, timeout: float | None = None) -> Record | None:
        async with self.acquire() as connection:
            return await connection.fetchrow(query, *arguments, timeout=timeout)

    async def fetchval(self, query: str, *arguments: Any, column: int | str = 0, timeout: float | None = None) -> Any:
        async with self.acquire() as connection:
            return await connection.fetchval(query, *arguments, column=column, timeout=timeout)

    def get_max_size(self) -> int:
        """Return how many connections may be open at once."""
        return self.store.config.db_pool_size

    async def _lend(self, timeout: float | None) -> Connection:
        async with asyncio.timeout(timeout), AsyncExitStack() as stack:
            connection = Connection(await stack.enter_async_context(self.store._connections.database.connection()))
            self._lent[connection] = stack.pop_all()
            return connection


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
