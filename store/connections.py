"""The wires: a pool of PostgreSQL connections and a Redis client, both made when first used."""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from store.calls import Call
from store.config import Config
from store.errors import DatabaseError, DatabaseUnavailable, first_line, from_postgres
from store.mirror.mirror import Mirror

Connection = psycopg.AsyncConnection[dict[str, Any]]

# The pool reports each failed attempt as a warning; callers get one DatabaseUnavailable instead.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class Database:
    """PostgreSQL, through a pool that opens with the first statement."""

    def __init__(self, config: Config) -> None:
        assert config.database_url is not None
        self._config = config
        self._pool = AsyncConnectionPool(
            config.database_url,
            connection_class=psycopg.AsyncConnection[dict[str, Any]],
            # No prepared statements: a transaction-mode pooler may not know them, and the functions keep
            # their plans on the server anyway. Autocommit: a statement is a transaction.
            kwargs={"row_factory": dict_row, "autocommit": True, "prepare_threshold": None},
            min_size=0,
            max_size=config.pool_size,
            timeout=config.db_timeout,
            check=_check,
            open=False,
            name="settings-store",
        )
        self._opening = asyncio.Lock()

    async def fetch(self, call: Call) -> Sequence[dict[str, Any]]:
        """Run a statement as a transaction of its own and return its rows. Raises errors of ours only."""
        await self._open()
        try:
            async with self._pool.connection() as connection:
                return await (await connection.execute(call.query, call.params)).fetchall()
        except PoolTimeout:
            raise DatabaseUnavailable(await self._why()) from None
        except UnicodeEncodeError:
            raise DatabaseError("a text must not contain a lone surrogate") from None
        except psycopg.Error as error:
            raise from_postgres(error) from None

    async def stream(self, call: Call, batch: int) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """Read a statement's rows in batches, as of one moment, without holding them all."""
        await self._open()
        try:
            async with (
                self._pool.connection() as connection,
                connection.transaction(),
                connection.cursor(name="settings_store") as cursor,
            ):
                await cursor.execute(call.query, call.params)
                while rows := await cursor.fetchmany(batch):
                    yield rows
        except PoolTimeout:
            raise DatabaseUnavailable(await self._why()) from None
        except psycopg.Error as error:
            raise from_postgres(error) from None

    async def close(self) -> None:
        if not self._pool.closed:
            await self._pool.close()

    async def _open(self) -> None:
        if self._pool.closed:
            async with self._opening:
                if self._pool.closed:
                    await self._pool.open()

    async def _why(self) -> str:
        """Find out why the pool has no connection to give."""
        try:
            connection = await psycopg.AsyncConnection.connect(self._config.database_url or "", connect_timeout=2)
        except psycopg.Error as error:
            return f"PostgreSQL can't be reached: {first_line(error)}"
        await connection.close()
        return f"PostgreSQL: all {self._config.pool_size} connections were busy for {self._config.db_timeout:g} s"


async def _check(connection: Connection) -> None:
    """Test a pooled connection, with a round trip only if the server has said something meanwhile, as it
    does when it shuts down."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)


class Connections:
    """Both stores of one configuration."""

    def __init__(self, config: Config) -> None:
        assert config.redis_url is not None
        self.database = Database(config)
        self._redis: Redis = Redis.from_url(
            config.redis_url,
            decode_responses=True,
            encoding_errors="surrogateescape",  # a foreign value that isn't UTF-8 must not break a reply
            socket_timeout=config.redis_timeout,
            socket_connect_timeout=config.redis_timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self.mirror = Mirror(self._redis, config)

    async def close(self) -> None:
        await self.database.close()
        await self._redis.aclose()
