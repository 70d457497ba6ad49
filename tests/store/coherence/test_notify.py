"""`relay --notify`: writers tell the relay of what they mark, where they can and it has little to do; it polls on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from store import Config, SettingsStore
from store.coherence import fresh_marks
from store.coherence.fresh_marks import CHANNEL, FreshMarks
from store.coherence.relay import Relay
from store.postgres import functions
from tests.faults.servers import PATIENCE, eventually, wait_until
from tests.helpers.roles import in_role

Db = psycopg.Connection[dict[str, Any]]
Connect = Callable[[], Db]
SAVE = "select upsert_user_setting(%s, 'params', jsonb_build_object('leverage', %s::integer))"
LISTENERS = """
select pid from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid()
   and (query ilike 'listen%' or query like '%await_marks%')"""


@pytest.fixture
def config(config: Config, database_url: str) -> Config:
    """No pooler in between, whatever the other tests have."""
    return replace(config, database_url=database_url)


@pytest.fixture
def obstacles() -> list[str | None]:
    """What the relay was told of why nobody notifies."""
    return []


@pytest.fixture
async def marks(store: SettingsStore, user: str, obstacles: list[str | None]) -> AsyncIterator[FreshMarks]:
    """Marks of which writers are to tell; nothing was marked since the last look."""
    found = FreshMarks(store._connections.database, True, obstacles.append)
    yield found
    await found.close()


class Looking:
    """Looks at marks, as the relay does."""

    def __init__(self, marks: FreshMarks) -> None:
        self._marks = marks
        self._seen = functions.mirror.Snapshot("1:1:")

    async def look(self) -> set[str]:
        """Look once, and return whose marks are new."""
        rows = await self._marks.fetch(self._seen, 500)
        self._seen = rows[0]["seen"]
        return {row["owner"] for row in rows if row["owner"] is not None}

    async def until_it_rests(self) -> None:
        async def rests() -> bool:
            await self.look()
            return self._marks.rests

        await eventually(rests)

    async def is_told(self) -> None:
        """Wait to be told, however long that takes."""
        with self._marks.told() as told:
            await asyncio.wait_for(told.wait(), PATIENCE)


def listening(connect: Connect) -> Db:
    listener = connect()
    listener.execute(f"listen {CHANNEL}".encode())
    return listener


def heard(listener: Db, db: Db) -> int:
    """Count what was notified before now."""
    db.execute("select pg_notify(%s, 'the end')", (CHANNEL,))
    payloads: list[str] = []
    for note in listener.notifies(timeout=PATIENCE):
        if note.payload == "the end":
            return len(payloads)
        payloads.append(note.payload)
    raise AssertionError("no end was heard")


async def test_a_write_by_sql_ends_its_rest(marks: FreshMarks, user: str, db: Db) -> None:
    looking = Looking(marks)
    await looking.until_it_rests()
    for leverage in (3, 4):
        db.execute(SAVE, (user, leverage))
        await looking.is_told()
        assert await looking.look() == {user}
        assert marks.rests


async def test_an_erasure_ends_its_rest(marks: FreshMarks, user: str, db: Db) -> None:
    looking = Looking(marks)
    await looking.until_it_rests()
    db.execute("select erase_user(%s)", (user,))
    await looking.is_told()
    assert user in await looking.look()


async def test_what_comes_during_a_look_is_not_slept_through(marks: FreshMarks, user: str, db: Db) -> None:
    looking = Looking(marks)
    await looking.until_it_rests()
    assert marks._listener is not None
    db.execute(SAVE, (user, 3))
    await marks._listener.fetch(functions.mirror.pending_lag())  # this answer brings the notification with it
    await looking.is_told()


def test_nobody_is_notified_where_no_relay_asked(user: str, db: Db, connect: Connect) -> None:
    listener = listening(connect)
    db.execute("select setval('relay_listens', 0)")
    db.execute(SAVE, (user, 3))
    assert heard(listener, db) == 0
    db.execute("select await_marks(60)")
    db.execute(SAVE, (user, 4))
    assert heard(listener, db) == 1


async def test_what_the_store_mirrors_itself_notifies_nobody(
    store: SettingsStore, user: str, db: Db, connect: Connect
) -> None:
    listener = listening(connect)
    db.execute("select await_marks(60)")
    await store.save(user, "params", {"leverage": 3})
    await store.patch(user, "params", {"leverage": 4})
    await store.save_many({user: {"leverage": 5}}, "params")
    await store.rollback(user, "params", 2)
    await store.delete(user, "params")
    assert heard(listener, db) == 0
    await store.halt_trading("down")  # rare, and brought by its mark
    assert heard(listener, db) > 0


def test_a_transaction_of_many_writes_notifies_once(user: str, db: Db, connect: Connect) -> None:
    listener = listening(connect)
    db.execute("select await_marks(60)")
    db.execute("select ensure_user((1000000000000000 + n)::text) from generate_series(1, 20) n")
    assert heard(listener, db) == 1


def test_nobody_asks_for_longer_than_a_minute(db: Db) -> None:
    db.execute("select await_marks(1e9)")
    row = db.execute("select last_value <= extract(epoch from now() + interval '61 s') * 1000 as ok from relay_listens")
    assert row.fetchone() == {"ok": True}


def test_it_does_not_cut_short_what_another_relay_asked(db: Db) -> None:
    db.execute("select await_marks(60)")
    before = db.execute("select last_value from relay_listens").fetchone()
    db.execute("select await_marks(1)")
    assert db.execute("select last_value from relay_listens").fetchone() == before


def test_asking_takes_no_transaction_number_and_waits_for_no_writer(user: str, db: Db, connect: Connect) -> None:
    writer = connect()
    writer.autocommit = False
    writer.execute(SAVE, (user, 3))
    query = "select await_marks(1) as obstacle, pg_current_xact_id_if_assigned() as number"
    assert db.execute(query).fetchone() == {"obstacle": None, "number": None}
    writer.rollback()


def test_a_read_only_transaction_says_so(db: Db) -> None:
    db.execute("set default_transaction_read_only = on")
    assert db.execute("select await_marks(1) as why").fetchone() == {"why": "transactions are read-only"}


def test_of_the_roles_relay_and_admin_may_ask_and_listen(database_url: str) -> None:
    for role in ("reader", "writer"):
        with (
            psycopg.connect(in_role(database_url, role), autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("select await_marks(1)")
    with psycopg.connect(in_role(database_url, "relay"), autocommit=True) as connection:
        connection.execute(f"listen {CHANNEL}".encode())
        assert connection.execute("select await_marks(1)").fetchone() == (None,)


async def test_with_much_marked_it_asks_nobody(
    marks: FreshMarks, user: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = Looking(marks)
    await looking.until_it_rests()
    monkeypatch.setattr(fresh_marks, "MARKS", 1.0)
    now = time.monotonic()
    monkeypatch.setattr(fresh_marks, "time", SimpleNamespace(monotonic=lambda: now))
    db.execute(SAVE, (user, 3))
    await looking.look()
    asked = db.execute("select last_value from relay_listens").fetchone()
    await looking.look()
    assert not marks.rests
    assert db.execute("select last_value from relay_listens").fetchone() == asked
    db.execute(SAVE, (user, 4))
    assert await looking.look() == {user}


async def test_where_nobody_can_notify_it_looks_on_and_says_why(
    config: Config, database_url: str, user: str, db: Db, obstacles: list[str | None]
) -> None:
    url = make_conninfo(database_url, options="-c default_transaction_read_only=on")
    async with SettingsStore(replace(config, database_url=url)) as reading:
        marks = FreshMarks(reading._connections.database, True, obstacles.append)
        looking = Looking(marks)

        async def said() -> bool:
            await looking.look()
            return bool(obstacles)

        await eventually(said)
        assert set(obstacles) == {"transactions are read-only"}
        assert not marks.rests
        db.execute(SAVE, (user, 3))
        assert await looking.look() == {user}
        await marks.close()


async def test_without_the_option_it_neither_asks_nor_listens(store: SettingsStore, user: str, db: Db) -> None:
    db.execute("select setval('relay_listens', 0)")
    marks = FreshMarks(store._connections.database, False, lambda _: None)
    looking = Looking(marks)
    for _ in range(3):
        await looking.look()
    assert not marks.rests
    assert db.execute(LISTENERS).fetchall() == []
    assert db.execute("select last_value from relay_listens").fetchone() == {"last_value": 0}


async def test_a_relay_whose_listening_connection_dies_goes_on_and_listens_again(
    store: SettingsStore, user: str, db: Db, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "store.relay")
    monkeypatch.setattr(fresh_marks, "AGAIN", 0.0)
    relay = Relay(store._connections, poll=0.005, notify=True)
    running = asyncio.create_task(relay.run())

    async def rests() -> bool:
        return relay._fresh_marks.rests

    for leverage in (3, 4, 5):
        await eventually(rests)
        listener = relay._fresh_marks._listener
        assert listener is not None
        db.execute(SAVE, (user, leverage))

        async def has_come(leverage: int = leverage) -> bool:
            found = await store.get(user, "params", source="redis")
            return found is not None and found.settings.get("leverage") == leverage

        await eventually(has_come)
        db.execute("select pg_terminate_backend(%s, 5000)", (listener._connection.info.backend_pid,))

        async def is_replaced(old: object = listener) -> bool:
            return relay._fresh_marks._listener not in (None, old)

        await eventually(is_replaced)
    relay.stopping.set()
    await asyncio.wait_for(running, PATIENCE)
    assert "no writer notifies" in caplog.text
    assert "writers notify" in caplog.text


async def test_it_ends_while_it_rests_and_leaves_no_connection(store: SettingsStore, user: str, db: Db) -> None:
    relay = Relay(store._connections, notify=True)
    running = asyncio.create_task(relay.run())

    async def rests() -> bool:
        return relay._fresh_marks.rests

    await eventually(rests)
    relay.stopping.set()
    await asyncio.wait_for(running, PATIENCE)
    wait_until(lambda: not db.execute(LISTENERS).fetchall())
