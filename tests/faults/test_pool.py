"""PostgreSQL's connections: never more than were given, whoever comes when, and a clear reason where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from store import Config, DatabaseBusy, DatabaseUnavailable, SettingsStore, StoreError
from store.coherence.relay import Relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.postgres import migrate
from store.postgres.call import Call
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import PostgresServer, eventually

Db = psycopg.Connection[dict[str, Any]]


@pytest.fixture
def limited(config: Config, db: Db) -> Iterator[Any]:
    """Make a login that may have so many connections, and a configuration with it."""
    made: list[str] = []

    def login(limit: int, **changes: Any) -> Config:
        made.append(f"limited_{uuid.uuid4().hex[:12]}")
        db.execute(f"create role {made[-1]} login connection limit {limit} in role settings_writer".encode())
        return replace(config, database_url=make_conninfo(config.database_url or "", user=made[-1]), **changes)

    yield login
    for name in made:
        db.execute(f"drop role {name}".encode())


async def reads(store: SettingsStore, count: int) -> list[Any]:
    """Read as many users at once, past Redis."""
    found: list[Any] = await asyncio.gather(
        *(
            store.get(OKX_UID, "params", source="db") if n % 2 else store.find_user(str(10**16 + n))
            for n in range(count)
        ),
        return_exceptions=True,
    )
    return found


@pytest.mark.parametrize(("limit", "size"), [(5, 5), (2, 2), (3, 5)])
async def test_a_cold_start_opens_no_more_than_it_was_given(limited: Any, user: str, limit: int, size: int) -> None:
    async with SettingsStore(limited(limit, db_pool_size=size, db_timeout=60.0)) as store:
        for _ in range(2):
            assert [found for found in await reads(store, 200) if isinstance(found, Exception)] == []


async def test_two_connections_are_enough_for_every_job(limited: Any, user: str, db: Db) -> None:
    config = limited(2, db_pool_size=2)
    login = config.database_url.partition("user=")[2].split()[0]
    db.execute(f"grant settings_admin to {login}".encode())
    async with SettingsStore(config) as store:
        db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (user,))
        await Relay(store._connections).once()
        await Sync(store._connections).run()
        assert not (await verify(store._connections, repair=True)).findings


async def test_all_busy_is_told_when_they_are(config: Config, user: str) -> None:
    async with SettingsStore(replace(config, db_pool_size=2, db_timeout=0.2)) as store:
        database = store._connections.database
        async with database.transaction(), database.transaction():
            with pytest.raises(DatabaseBusy, match="all 2 connections were busy"):
                await store.find_user(user)
        assert await store.find_user(user) is not None


async def test_a_limit_that_others_have_used_up_is_told_as_postgresql_says_it(limited: Any, user: str) -> None:
    config = limited(1)
    async with SettingsStore(config) as store:
        with (
            psycopg.connect(config.database_url),
            pytest.raises(DatabaseUnavailable, match="too many connections for role"),
        ):
            await store.find_user(user)

        async def works() -> bool:  # the server ends a session a moment after its client has gone
            with contextlib.suppress(DatabaseUnavailable):
                return await store.find_user(user) is not None
            return False

        await eventually(works)


async def test_a_caller_who_gives_up_takes_no_connection_along(config: Config, user: str) -> None:
    async with SettingsStore(replace(config, db_pool_size=2)) as store:
        for n in range(40):
            tasks = [asyncio.create_task(store.find_user(user)) for _ in range(6)]
            for _ in range(n % 8):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [each for each in found if isinstance(each, StoreError)]
        database = store._connections.database
        async with database.transaction(), database.transaction():
            pass


async def test_connections_are_reused(config: Config, user: str, db: Db) -> None:
    async with SettingsStore(config) as store:
        pids = {
            (await store._connections.database.fetch(Call("select pg_backend_pid() as pid", {})))[0]["pid"]
            for _ in range(9)
        }
    assert len(pids) == 1


class Readers:
    """Tasks that read without a pause, and keep the errors they get."""

    def __init__(self, store: SettingsStore) -> None:
        self.errors: list[DatabaseUnavailable] = []
        self._store = store
        self._is_over = False
        self._tasks = [asyncio.create_task(self._read()) for _ in range(20)]

    async def have_noticed(self) -> bool:
        return bool(self.errors)

    async def end(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _read(self) -> None:
        while not self._is_over:
            try:
                await self._store.find_user(OKX_UID)
            except DatabaseUnavailable as error:
                self.errors.append(error)
                await asyncio.sleep(0.01)


async def test_a_moment_without_postgresql_is_over_when_it_is_over(
    own_postgres: PostgresServer, config: Config
) -> None:
    migrate.migrate(own_postgres.url)
    async with SettingsStore(replace(config, database_url=own_postgres.url, db_timeout=60.0)) as store:
        await store.ensure_user(OKX_UID, TELEGRAM_ID)
        for how in ("stop", "crash"):
            readers = Readers(store)
            await asyncio.to_thread(getattr(own_postgres, how))
            await eventually(readers.have_noticed)
            await asyncio.to_thread(own_postgres.start)
            assert [found for found in await reads(store, 50) if isinstance(found, Exception)] == []
            await readers.end()
            assert not [error for error in readers.errors if "busy" in str(error)]
