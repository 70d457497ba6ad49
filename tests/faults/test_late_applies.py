"""What is sent to Redis and arrives long after it was given up, when nothing is left there that says how old it is."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore
from store.coherence import relay
from store.coherence.mirror_source import all_entries
from store.mirror.entries import Place
from store.models import BUILT_IN_TYPES, MirrorEntry
from store.postgres import functions
from store.sockets import redis_socket
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import RedisServer
from tests.faults.slow_line import Line

Db = psycopg.Connection[dict[str, Any]]

SYMBOL = "BTC-USDT-SWAP"
HELD = b"?late"  # a key of the document that is to be held


@pytest.fixture
def line(own_redis: RedisServer) -> Iterator[Line]:
    """A line to Redis."""
    with Line(str(redis_socket(own_redis.home))) as opened:
        yield opened


@pytest.fixture
def far(config: Config, line: Line) -> Config:
    """The configuration with Redis at the end of that line."""
    return replace(config, redis_url=f"redis://127.0.0.1:{line.port}/0")


def evict(server: RedisServer, *owners: str) -> None:
    """Take everything of these owners from Redis, as an eviction does."""
    with server.client() as client:
        for owner in owners:
            if keys := list(client.scan_iter(f"user:{owner}:*")):
                client.delete(*keys)


def leverages(server: RedisServer, db: Db) -> tuple[int, int]:
    """What Redis serves, and what PostgreSQL says."""
    with server.client() as client:
        text = str(client.get(f"user:{OKX_UID}:settings") or "{}")
    row = db.execute("select settings from user_settings where is_active and setting_type = 'params'").fetchone()
    assert row
    return int(text.partition('"leverage": ')[2].partition(",")[0].strip("} ") or 0), row["settings"]["leverage"]


async def patch(store: SettingsStore) -> None:
    saved = await store.patch(OKX_UID, "params", {"?late": 1, "leverage": 3})
    assert not saved.mirrored


async def refill(store: SettingsStore) -> None:
    """A read that fills Redis again."""
    found = await store.get(OKX_UID, "params")
    assert found is not None


async def drained(store: SettingsStore) -> None:
    """What a relay brings."""
    with contextlib.suppress(Exception):
        await relay.drain(store._connections)


WRITES: dict[str, tuple[str, Callable[[SettingsStore], Awaitable[None]]]] = {
    "a save": ("", patch),
    "a refill": ("""select patch_user_setting(%s, 'params', '{"?late": 1, "leverage": 3}')""", refill),
    "a relay": ("""select patch_user_setting(%s, 'params', '{"?late": 1, "leverage": 3}')""", drained),
}


@pytest.mark.parametrize("is_lost_before", [False, True])
async def test_an_apply_that_comes_late_brings_no_older_version_back(
    far: Config, store: SettingsStore, own_redis: RedisServer, line: Line, db: Db, is_lost_before: bool
) -> None:
    """A is given up, B saves and is mirrored, Redis loses the keys, and then comes what A has sent."""
    async with SettingsStore(far) as slow:
        for name, (statement, write) in WRITES.items():
            if statement:
                db.execute(statement.encode(), (OKX_UID,))
            if is_lost_before or name == "a refill":
                evict(own_redis, OKX_UID)
            slow._connections.mirror.retry_now()
            line.word = HELD
            await write(slow)
            assert line.held, name
            line.word = None
            newer = await store.save(OKX_UID, "params", {"leverage": 4})
            assert newer.mirrored
            await store._connections.marks.clear()
            assert not (await store._connections.database.fetch(functions.mirror.marked_keys([OKX_UID]))), name
            evict(own_redis, OKX_UID)
            line.let_go()
            assert leverages(own_redis, db) in ((0, 4), (4, 4)), name
            found = await store.get(OKX_UID, "params")
            assert found is not None
            assert (found.version, found.settings) == (newer.version, {"leverage": 4}), name
            assert leverages(own_redis, db) == (4, 4), name


async def test_what_was_sent_with_a_life_is_worth_nothing_after_it(
    store: SettingsStore, own_redis: RedisServer, db: Db
) -> None:
    """Entries of a reconciliation, with the lives known then, that are written after another has saved: not at all if
    what guarded the keys is lost, and as an older version else."""
    mirror = store._connections.mirror
    evict(own_redis, OKX_UID, TELEGRAM_ID)
    lives = await mirror.lives([OKX_UID, TELEGRAM_ID])
    assert lives == await mirror.lives([OKX_UID, TELEGRAM_ID])
    entries = [MirrorEntry(**row) for row in await store._connections.database.fetch(all_entries())]
    await store.patch(OKX_UID, "params", {"leverage": 4})
    await store.unlink(OKX_UID)
    await store.save_all(OKX_UID, {"preferences": {"symbol": "X"}, "dual_side": {"use_dual_sl": True}})
    for loses in (False, True, True):
        if loses:
            evict(own_redis, OKX_UID, TELEGRAM_ID)
        before = own_redis.content()
        statuses = {applied.status for applied in await mirror.apply(entries, lives=lives)}
        assert statuses == {-3 if loses else -1}
        if not loses:
            assert own_redis.content() == before
    with own_redis.client() as client:
        assert sorted(client.keys()) == sorted(f"user:{owner}:mirror" for owner in (OKX_UID, TELEGRAM_ID))
        assert 0 < client.ttl(f"user:{OKX_UID}:mirror") <= 3600
    await relay.reconcile(store._connections)
    with own_redis.client() as client:
        assert client.ttl(f"user:{OKX_UID}:mirror") == -1
        assert client.get(f"user:{TELEGRAM_ID}:okx_uid") is None


async def test_a_command_that_comes_twice_begins_no_life_that_somebody_knows(
    far: Config, store: SettingsStore, own_redis: RedisServer, line: Line
) -> None:
    mirror = store._connections.mirror
    async with SettingsStore(far) as slow:
        evict(own_redis, OKX_UID)
        line.word = b"EVALSHA"
        with contextlib.suppress(Exception):
            await slow._connections.mirror.lives([OKX_UID])
        first = list(line.held)
        line.word = None
        line.let_go()
        lives = await mirror.lives([OKX_UID])
        evict(own_redis, OKX_UID)
        line.held = first
        line.let_go()
        assert await mirror.lives([OKX_UID]) != lives


async def test_a_note_that_a_symbol_has_no_document_may_come_late_too(
    store: SettingsStore, own_redis: RedisServer
) -> None:
    mirror = store._connections.mirror
    kind = BUILT_IN_TYPES["dual_side"].of(SYMBOL)
    lives = await mirror.lives([OKX_UID])
    saved = await store.save(OKX_UID, "dual_side", {"use_dual_sl": True}, symbol=SYMBOL)
    for is_lost in (False, True):
        if is_lost:
            evict(own_redis, OKX_UID)
        await mirror.note_absent({OKX_UID: lives[OKX_UID]}, kind.name)
        found = await store.get(OKX_UID, "dual_side", symbol=SYMBOL)
        assert found is not None
        assert (found.symbol, found.version) == (SYMBOL, saved.version)
    (what,) = await mirror.inspect([Place(OKX_UID, kind.name, kind.redis_suffix, kind.redis_encoding)])
    assert what.version == saved.version
