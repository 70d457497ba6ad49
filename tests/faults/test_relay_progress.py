"""The relay makes progress for everybody, whatever one transaction, one key or one setting of PostgreSQL does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from store import Config, SettingsStore, Vault
from store.coherence.epochs import is_reconciled
from store.coherence.preserve import Held, keep
from store.coherence.relay import Progress, Relay
from store.coherence.verify import verify
from store.encryption.vault import generate_key
from store.mirror.entries import CREDENTIALS, Found
from store.models import Erasure, SavedUser
from store.operations.health import check
from store.postgres import functions
from tests.conftest import OKX_UID
from tests.faults.servers import PATIENCE, RedisServer, eventually

Db = psycopg.Connection[dict[str, Any]]
OTHER = "9999999999999999"  # behind all others, in whatever order
MANY = 1200  # more than two batches
SAVE = "select upsert_user_setting(%s, 'params', jsonb_build_object('leverage', %s::integer))"


@asynccontextmanager
async def relaying(store: SettingsStore) -> AsyncIterator[Relay]:
    """A relay that runs, and ends when it is told to."""
    running = Relay(store._connections, poll=0.005)
    task = asyncio.create_task(running.run())
    try:
        yield running
    finally:
        running.stopping.set()
        async with asyncio.timeout(PATIENCE):
            await task


@contextmanager
def holding(connect: Callable[[], Db], query: str, *parameters: Any) -> Iterator[Db]:
    """A transaction that stays open after this query, and is rolled back in the end, unless that was done before."""
    holder = connect()
    holder.autocommit = False
    holder.execute(query, parameters)
    try:
        yield holder
    finally:
        holder.rollback()


def register_many(db: Db, number: int = MANY) -> None:
    db.execute("select ensure_user((1000000000000000 + n)::text) from generate_series(1, %s) n", (number,))


def waiting(db: Db) -> int:
    row = db.execute("select count(*) as n from mirror_pending where last_error is null").fetchone()
    return int(row["n"]) if row else 0


async def other_user_is_served(store: SettingsStore, db: Db, leverage: int) -> None:
    """Save by SQL for another user, and await it in Redis."""
    db.execute("select ensure_user(%s)", (OTHER,))
    db.execute(SAVE, (OTHER, leverage))

    async def arrived() -> bool:
        found = await store.get(OTHER, "params", source="redis")
        return found is not None and found.settings["leverage"] == leverage

    await eventually(arrived)


def refuse(own_redis: RedisServer, *allowed: str) -> None:
    """Have Redis take writes to these keys only; all, if none are named."""
    with own_redis.client() as client:
        patterns = [f"~{key}" for key in (*allowed, "settings:*")] if allowed else ["~*"]
        client.execute_command("ACL", "SETUSER", "default", "resetkeys", *patterns)


async def equal(store: SettingsStore) -> bool:
    return not (await verify(store._connections)).findings


async def test_marks_that_another_transaction_holds_stop_nobody(
    store: SettingsStore, db: Db, connect: Callable[[], Db], caplog: pytest.LogCaptureFixture
) -> None:
    register_many(db)
    caplog.set_level(logging.INFO, "store.relay")
    with holding(connect, "select from mirror_pending for update"):
        async with relaying(store):
            await other_user_is_served(store, db, 7)
            await eventually(lambda: is_reconciled(store._connections))

            async def said() -> bool:
                return "other transactions hold them" in caplog.text

            await eventually(said)
            await other_user_is_served(store, db, 8)
    async with relaying(store):  # the one before ended, though all was held

        async def cleared() -> bool:
            return waiting(db) == 0

        await eventually(cleared)
    assert await equal(store)
    assert caplog.text.count("other transactions hold them") == 1


async def test_what_a_transaction_writes_again_reaches_redis_when_it_ends(
    store: SettingsStore, db: Db, connect: Callable[[], Db]
) -> None:
    register_many(db)
    with holding(connect, "update app_users set name = 'Lee' where okx_uid <> %s", OTHER) as holder:
        async with relaying(store):
            await other_user_is_served(store, db, 7)
            holder.commit()

            async def cleared() -> bool:
                return waiting(db) == 0

            await eventually(cleared)
    assert await equal(store)


async def test_a_fresh_save_overtakes_a_backlog(store: SettingsStore, db: Db) -> None:
    db.execute("select ensure_user(%s)", (OTHER,))
    async with relaying(store):
        await eventually(lambda: is_reconciled(store._connections))
        register_many(db, 15_000)
        await other_user_is_served(store, db, 7)
        assert waiting(db) > 1000


async def test_one_walk_takes_what_one_query_cant(store: SettingsStore, db: Db) -> None:
    """Many marks, and documents that are larger together than a query may bring."""
    register_many(db, 40)
    db.execute(
        "select upsert_user_setting(okx_uid, 'params', jsonb_build_object('pad', repeat('x', 900000))) from app_users"
    )
    progress: list[Progress] = []
    relay = Relay(store._connections, tell=progress.append)
    assert (await relay.once()).failures == {}
    assert waiting(db) == 0
    assert await equal(store)


async def test_a_mark_of_nothing_goes(store: SettingsStore, db: Db) -> None:
    db.execute("insert into mirror_pending (owner, kind, version) values (%s, 'params', 3)", (OTHER,))
    await Relay(store._connections).once()
    assert waiting(db) == 0


async def test_a_read_only_postgresql_is_said_once_and_stops_nobody(
    config: Config, db: Db, connect: Callable[[], Db], caplog: pytest.LogCaptureFixture
) -> None:
    register_many(db)
    name = conninfo_to_dict(config.database_url or "")["dbname"]
    db.execute(f"alter database {name} set default_transaction_read_only = on".encode())
    async with SettingsStore(config) as store, relaying(store):

        async def said() -> bool:
            return "takes no writes" in caplog.text

        await eventually(said)
        await other_user_is_served(store, db, 7)  # by a connection of before
        assert waiting(db) > MANY
        db.execute(f"alter database {name} reset default_transaction_read_only".encode())
        db.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                   " and pid <> pg_backend_pid()")  # fmt: skip

        async def cleared() -> bool:
            return waiting(db) == 0

        await eventually(cleared)
    assert caplog.text.count("takes no writes") == 1


async def test_a_refused_key_whose_mark_is_held_stops_nobody(
    store: SettingsStore, db: Db, own_redis: RedisServer, connect: Callable[[], Db]
) -> None:
    await Relay(store._connections).once()
    db.execute(SAVE, (OKX_UID, 5))
    refuse(own_redis, f"user:{OTHER}:*")
    with holding(connect, "select from mirror_pending where owner = %s for update", OKX_UID):
        async with relaying(store):
            await other_user_is_served(store, db, 7)
            await other_user_is_served(store, db, 8)
    async with relaying(store):

        async def is_set_aside() -> bool:
            rows = db.execute("select last_error from mirror_pending where owner = %s", (OKX_UID,)).fetchall()
            return bool(rows) and all("refused" in (row["last_error"] or "") for row in rows)

        await eventually(is_set_aside)


@pytest.mark.parametrize(
    ("key", "content", "table", "change"),
    [
        ("settings", '{"leverage": 99}', "user_settings", SAVE.replace("%s::integer", "5")),
        ("api:keys", {"api_key": "a", "api_secret": "b", "passphrase": "c"}, "okx_api_info",
         "select delete_api_credentials(%s)"),
    ],
)  # fmt: skip
async def test_an_edited_key_whose_row_is_held_stops_nobody(
    config: Config,
    db: Db,
    own_redis: RedisServer,
    connect: Callable[[], Db],
    key: str,
    content: str | dict[str, str],
    table: str,
    change: str,
) -> None:
    config = replace(config, vault=Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()}))
    async with SettingsStore(config) as store:
        await store.register(OKX_UID)
        await store.save_credentials(OKX_UID, "key", "secret", "passphrase")
        await Relay(store._connections).once()
        with own_redis.client() as client:
            if isinstance(content, str):
                client.set(f"user:{OKX_UID}:{key}", content)
            else:
                client.hset(f"user:{OKX_UID}:{key}", mapping=content)
        db.execute(change, (OKX_UID,))
        rows = f"select id from {table} where okx_uid = '{OKX_UID}'"
        before = len(db.execute(rows).fetchall())
        with holding(connect, f"{rows} and is_active for update"):
            async with relaying(store):
                await other_user_is_served(store, db, 7)
                await other_user_is_served(store, db, 8)
            assert waiting(db) > 0
        async with relaying(store):

            async def cleared() -> bool:
                return waiting(db) == 0

            await eventually(cleared)
        assert len(db.execute(rows).fetchall()) == before + 2  # what was found, and what is put back
        assert await equal(store)


async def test_redis_is_not_said_to_have_what_a_relay_has_set_aside(
    config: Config, db: Db, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SettingsStore(config) as store, SettingsStore(config) as relays:
        await store.register(OKX_UID)
        refuse(own_redis, "user:77777:*")
        write = store._write

        async def overtaken(*call: Any) -> Any:
            rows = await write(*call)
            assert (await Relay(relays._connections).once()).failures
            return rows

        monkeypatch.setattr(store, "_write", overtaken)
        changes: list[SavedUser | Erasure] = [
            await store.link(OKX_UID, "77777"), await store.ensure_user(OKX_UID, name="Lee"),
            (await store.register(OKX_UID)).user, await store.unlink(OKX_UID), await store.delete_user(OKX_UID),
            await store.restore_user(OKX_UID), await store.erase_user(OKX_UID),
        ]  # fmt: skip
        assert [change.mirrored for change in changes] == [False] * len(changes)
        refuse(own_redis)
        assert (await store.erase_user(OKX_UID)).mirrored


async def test_credentials_that_several_find_at_once_are_kept_once(config: Config, db: Db) -> None:
    """Each encrypts them anew, so PostgreSQL can't see that they are the same."""
    config = replace(config, vault=Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()}))
    async with SettingsStore(config) as store:
        await store.register(OKX_UID)
        await store.save_credentials(OKX_UID, "key", "secret", "passphrase")
        place = replace(CREDENTIALS, owner=OKX_UID)
        found = Found(1, "hash", {"api_key": "a", "api_secret": "b", "passphrase": "c"}, "")
        done = await asyncio.gather(
            *(keep(store._connections, [(place, found)]) for _ in range(4)), return_exceptions=True
        )
        assert None in done
        assert all(result is None or isinstance(result, Held) for result in done)
        await keep(store._connections, [(place, found)])
        assert len(db.execute("select from okx_api_info").fetchall()) == 3


async def test_what_is_refused_while_everything_is_brought_is_marked_and_tried_again(
    store: SettingsStore, config: Config, db: Db, own_redis: RedisServer
) -> None:
    await other_user_is_served_by_once(store, db)
    with own_redis.client() as client:
        client.flushall()
    refuse(own_redis, f"user:{OTHER}:*")
    progress = await Relay(store._connections).once()
    assert {owner for owner, _ in progress.failures} == {OKX_UID, "1709556958"}
    assert await is_reconciled(store._connections)
    rows = db.execute("select owner, kind, attempts, last_error from mirror_pending").fetchall()
    assert {(row["owner"], row["kind"]) for row in rows} == set(progress.failures)
    assert all(row["attempts"] == 1 and "refused" in row["last_error"] for row in rows)
    relay = next(each for each in check(config, 60, PATIENCE) if each.name == "relay")
    assert "set aside" in str(relay.problem)
    refuse(own_redis)
    assert (await Relay(store._connections).once()).failures == {}
    assert await equal(store)
    assert next(each for each in check(config, 60, PATIENCE) if each.name == "relay").problem is None


async def other_user_is_served_by_once(store: SettingsStore, db: Db) -> None:
    db.execute("select ensure_user(%s)", (OTHER,))
    await Relay(store._connections).once()


async def test_what_is_refused_and_cant_be_marked_leaves_the_reconciliation_open(
    store: SettingsStore, db: Db, own_redis: RedisServer, connect: Callable[[], Db]
) -> None:
    await other_user_is_served_by_once(store, db)
    with own_redis.client() as client:
        client.flushall()
    refuse(own_redis, f"user:{OTHER}:*")
    with holding(connect, SAVE, OKX_UID, 5):  # about to mark it; then rolled back
        progress = await Relay(store._connections).once()
        assert set(progress.unrecorded) == {(OKX_UID, "params")}
        assert not await is_reconciled(store._connections)
    assert (OKX_UID, "params") in (await Relay(store._connections).once()).failures
    assert await is_reconciled(store._connections)
    refuse(own_redis)
    assert (await Relay(store._connections).once()).failures == {}
    assert await equal(store)


async def test_verify_names_what_it_could_not_repair(
    store: SettingsStore, db: Db, own_redis: RedisServer, connect: Callable[[], Db]
) -> None:
    await Relay(store._connections).once()
    with own_redis.client() as client:
        client.set(f"user:{OKX_UID}:settings", '{"leverage": 99}')
    with holding(connect, "select from user_settings where okx_uid = %s for update", OKX_UID):
        report = await verify(store._connections, repair=True)
    assert (report.repaired, report.failures) == (0, {(OKX_UID, "params"): "another transaction holds it"})
    assert (await verify(store._connections, repair=True)).repaired == 1


async def test_a_stream_outlives_the_servers_patience_with_idle_transactions(config: Config, db: Db) -> None:
    name = conninfo_to_dict(config.database_url or "")["dbname"]
    db.execute(f"alter database {name} set idle_in_transaction_session_timeout = '200ms'".encode())
    db.execute("select ensure_user((1000000000000000 + n)::text) from generate_series(1, 100) n")
    async with SettingsStore(config) as store:
        seen = 0
        async for rows in store._connections.database.stream(functions.mirror.mirror_source(), 10):
            db.execute("select pg_sleep(case when %s = 0 then 0.5 else 0 end)", (seen,))
            seen += len(rows)
    assert seen >= 100
