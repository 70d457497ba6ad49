"""PostgreSQL down, crashed or refusing: reads go on from Redis, a save fails with one clear line."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from store import Config, DatabaseUnavailable, RedisUnavailable, SettingsStore, StoreError
from store.coherence import relay
from store.coherence.mirror_source import all_entries
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import PostgresServer, RedisServer, eventually

SECRET = "hunter2-secret"
KINDS = ["dual_side", "params", "preferences"]
Db = psycopg.Connection[dict[str, Any]]


@pytest.fixture
def config(own_postgres: PostgresServer, own_redis: RedisServer) -> Config:
    """The configuration of servers that may both be stopped."""
    return Config(own_postgres.url, own_redis.url, own_postgres.home, db_timeout=1.0, redis_retry_after=0.2)


@pytest.fixture
def db(own_postgres: PostgresServer) -> Iterator[Db]:
    """An autocommit connection to the PostgreSQL that may be stopped; rows are dicts."""
    with psycopg.connect(own_postgres.url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
async def store(config: Config) -> AsyncIterator[SettingsStore]:
    """An open store, with a user whose documents are in both stores."""
    async with SettingsStore(config) as opened:
        await opened.register(OKX_UID, TELEGRAM_ID)
        await relay.reconcile(opened._connections)
        yield opened


def assert_is_one_clear_line(error: StoreError) -> None:
    assert "PostgreSQL can't be reached" in str(error)
    assert "\n" not in str(error)


async def version(store: SettingsStore, kind: str = "params") -> int:
    found = await store.get(OKX_UID, kind, source="db")
    assert found is not None
    return found.version


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_reads_go_on_and_saves_fail_while_postgresql_is_away(
    store: SettingsStore, own_postgres: PostgresServer, own_redis: RedisServer, how: str
) -> None:
    before, mirrored = await version(store), own_redis.content()
    getattr(own_postgres, how)()
    for identifier in (OKX_UID, TELEGRAM_ID):
        for kind in KINDS:
            found = await store.get(identifier, kind)
            assert found is not None
            assert found.source == "redis"
    assert len(await store.get_all(OKX_UID)) == 3
    for save in (store.save(OKX_UID, "params", {"leverage": 3}), store.patch(OKX_UID, "params", {"leverage": 3})):
        with pytest.raises(DatabaseUnavailable) as caught:
            await save
        assert_is_one_clear_line(caught.value)
    assert own_redis.content() == mirrored

    own_postgres.start()
    assert await version(store) == before
    saved = await store.save(OKX_UID, "params", {"leverage": before + 1})
    assert (saved.version, saved.mirrored) == (before + 1, True)


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_stale_connections_surface_in_no_call_after_a_restart(
    store: SettingsStore, config: Config, own_postgres: PostgresServer, how: str
) -> None:
    async def one(n: int) -> int:
        return (await store.patch(OKX_UID, KINDS[n % 3], {"?n": n})).version

    await asyncio.gather(*(one(n) for n in range(3 * config.db_pool_size)))
    getattr(own_postgres, how)()
    own_postgres.start()
    before = [await version(store, kind) for kind in KINDS]
    getattr(own_postgres, how)()
    own_postgres.start()
    versions = await asyncio.gather(*(one(n) for n in range(99, 99 + 3 * config.db_pool_size)))
    for i, kind in enumerate(KINDS):
        assert sorted(versions[i::3]) == list(range(before[i] + 1, before[i] + 1 + config.db_pool_size))
        assert await version(store, kind) == before[i] + config.db_pool_size


async def test_an_open_store_works_at_once_after_a_long_outage(
    store: SettingsStore, own_postgres: PostgresServer
) -> None:
    before = await version(store)
    own_postgres.stop()
    for _ in range(4):
        with pytest.raises(DatabaseUnavailable):
            await store.save(OKX_UID, "params", {"leverage": 3})
    own_postgres.start()
    saved = await asyncio.gather(*(store.patch(OKX_UID, "params", {"?n": n}) for n in range(5)))
    assert sorted(each.version for each in saved) == list(range(before + 1, before + 6))


async def test_a_store_opened_while_postgresql_is_away_works_as_soon_as_it_comes(
    config: Config, store: SettingsStore, own_postgres: PostgresServer
) -> None:
    own_postgres.stop()
    async with SettingsStore(config) as opened:
        found = await opened.get(OKX_UID, "params")
        assert found is not None
        assert found.source == "redis"
        for _ in range(4):  # an outage long enough for retries with growing pauses to miss its end
            with pytest.raises(DatabaseUnavailable) as caught:
                await opened.get(OKX_UID, "params", source="db")
            assert_is_one_clear_line(caught.value)
        own_postgres.start()
        assert await version(opened) == found.version


async def test_with_both_down_there_is_one_clear_error(
    store: SettingsStore, own_postgres: PostgresServer, own_redis: RedisServer
) -> None:
    own_postgres.stop()
    own_redis.stop()
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as caught:
        await store.get(OKX_UID, "params")
    assert_is_one_clear_line(caught.value)
    with pytest.raises(DatabaseUnavailable) as caught:
        await store.save(OKX_UID, "params", {"leverage": 3})
    assert_is_one_clear_line(caught.value)
    with pytest.raises(RedisUnavailable, match="Redis can't be reached"):
        await store.get(OKX_UID, "params", source="redis")
    assert time.monotonic() - started < 20
    own_postgres.start()
    found = await store.get(OKX_UID, "params")
    assert found is not None
    assert found.source == "db"


async def test_a_save_whose_connection_is_cut_leaves_nothing(
    store: SettingsStore, db: Db, own_postgres: PostgresServer, own_redis: RedisServer
) -> None:
    before, mirrored = await store.get(OKX_UID, "params", source="db"), own_redis.content()
    assert before is not None
    with psycopg.connect(own_postgres.url) as holder:
        holder.execute("select from user_settings where okx_uid = %s for update", (OKX_UID,))
        saving = asyncio.create_task(store.save(OKX_UID, "params", {"signal_bot_token": SECRET}))
        victims: list[int] = []

        async def waits() -> bool:
            rows = db.execute(
                "select pid from pg_stat_activity where %s = any (pg_blocking_pids(pid))", (holder.info.backend_pid,)
            ).fetchall()
            victims[:] = [row["pid"] for row in rows]
            return bool(victims)

        await eventually(waits)
        for victim in victims:
            db.execute("select pg_terminate_backend(%s)", (victim,))
        with pytest.raises(DatabaseUnavailable) as caught:
            await saving
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert await store.get(OKX_UID, "params", source="db") == before
    assert own_redis.content() == mirrored
    assert (await store.save(OKX_UID, "params", {"?after": before.version})).version == before.version + 1


async def test_a_mark_that_cant_be_cleared_fails_no_save_that_was_committed(store: SettingsStore, db: Db) -> None:
    before = await version(store)
    db.execute("create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$")
    db.execute("create trigger refuse before delete on mirror_pending for each statement execute function refuse()")
    try:
        saved = await store.save(OKX_UID, "params", {"?n": before})
    finally:
        db.execute("drop function refuse() cascade")
    assert (saved.version, saved.mirrored) == (before + 1, True)
    rows = db.execute("select version from mirror_pending where kind = 'params'").fetchall()
    assert [row["version"] for row in rows] == [before + 1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
        ({"user": "nobody_here"}, 'role "nobody_here" does not exist'),
        ({"user": "locked_out", "password": SECRET}, 'password authentication failed for user "locked_out"'),
        ({"user": "idle", "password": SECRET}, 'role "idle" is not permitted to log in'),
        ({"host": "/nowhere"}, "No such file or directory"),
        ({"host": "localhost", "port": "1", "password": SECRET}, "Connection refused"),
    ],
    ids=["database", "role", "password", "login", "socket", "port"],
)
async def test_a_refused_connection_says_why_without_the_password(
    config: Config, own_postgres: PostgresServer, db: Db, change: dict[str, str], why: str
) -> None:
    db.execute("drop role if exists locked_out, idle")
    db.execute("create role locked_out login password 'another'")
    db.execute("create role idle")
    access = own_postgres.home / "postgres" / "pg_hba.conf"
    usual = access.read_text()
    access.write_text(f"local all locked_out scram-sha-256\n{usual}")
    db.execute("select pg_reload_conf()")
    try:
        await eventually(lambda: rule_is_loaded(db))
        url = make_conninfo(own_postgres.url, **change)
        async with SettingsStore(replace(config, database_url=url)) as store:
            with pytest.raises(DatabaseUnavailable) as caught:
                await store.save(OKX_UID, "params", {"signal_bot_token": SECRET})
    finally:
        access.write_text(usual)
        db.execute("select pg_reload_conf()")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value) + repr(caught.value)


async def rule_is_loaded(db: Db) -> bool:
    row = db.execute("select now() - pg_conf_load_time() < interval '1 minute' as is_new").fetchone()
    rules = db.execute("select from pg_hba_file_rules where user_name = '{locked_out}'").fetchall()
    return bool(rules and row and row["is_new"])


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_a_stream_that_is_left_as_its_connection_is_lost_leaves_no_cursor_open(
    store: SettingsStore, db: Db, in_transaction: bool
) -> None:
    database, call = store._connections.database, all_entries()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with contextlib.suppress(DatabaseUnavailable):
            async with contextlib.AsyncExitStack() as stack:
                reader = await stack.enter_async_context(database.transaction()) if in_transaction else database
                pages = await stack.enter_async_context(contextlib.aclosing(reader.stream(call, 1)))
                await anext(pages)
                ended = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where query ~ '^FETCH'"
                assert db.execute(ended).fetchall()
        gc.collect()
    assert [str(warning.message) for warning in warned] == []


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_a_stream_that_is_cancelled_as_it_is_left_leaves_no_cursor_open(
    store: SettingsStore, db: Db, in_transaction: bool
) -> None:
    database, call = store._connections.database, all_entries()
    reads, leaves = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async with contextlib.AsyncExitStack() as stack:
            reader = await stack.enter_async_context(database.transaction()) if in_transaction else database
            pages = await stack.enter_async_context(contextlib.aclosing(reader.stream(call, 1)))
            await anext(pages)
            await asyncio.sleep(0.1)  # the next page has come
            reads.set()
            await leaves.wait()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        reading = asyncio.create_task(read())
        await reads.wait()
        (row,) = db.execute("select pid from pg_stat_activity where query ~ '^FETCH'").fetchall()
        os.kill(row["pid"], signal.SIGSTOP)
        try:
            leaves.set()
            await asyncio.sleep(0.2)
            assert reading.cancel()
            await asyncio.sleep(0.2)
        finally:
            os.kill(row["pid"], signal.SIGCONT)
        await asyncio.wait([reading])
        assert reading.cancelled()
        del reading
        gc.collect()
    assert [str(warning.message) for warning in warned] == []
