"""An erasure and what else is under way: a person with a history in both stores, and looks at what is left of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Config, SettingsStore
from store.coherence.relay import Relay
from store.models import MirrorEntry
from store.postgres import functions
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import RedisServer

Db = psycopg.Connection[dict[str, Any]]

EARLIER = "424242"
VALUE = "an-unmistakable-value"
TABLES = ("app_users", "user_settings", "telegram_links", "mirror_pending")


@pytest.fixture
def redis(own_redis: RedisServer, store: SettingsStore) -> Iterator[redis_py.Redis]:
    with own_redis.client() as client:
        yield client


@pytest.fixture
async def person(store: SettingsStore, db: Db) -> str:
    """The user with a history and an earlier Telegram ID, all of it in Redis."""
    await store.link(OKX_UID, EARLIER)
    await store.link(OKX_UID, TELEGRAM_ID)
    await store.patch(OKX_UID, "params", {"leverage": 77, "note": VALUE})
    await store.patch(OKX_UID, "preferences", {"note": VALUE})
    await Relay(store._connections).once()
    await store._connections.marks.clear()
    assert not marks(db)
    return OKX_UID


@pytest.fixture
async def late(config: Config) -> AsyncIterator[SettingsStore]:
    """Another process's store."""
    async with SettingsStore(config) as opened:
        yield opened


def marks(db: Db) -> list[dict[str, Any]]:
    return db.execute("select owner, kind, version, erased from mirror_pending order by 1, 2").fetchall()


def rows(db: Db) -> str:
    return "\n".join(str(db.execute(f"select t::text from {table} t").fetchall()) for table in TABLES)


def content(redis: redis_py.Redis) -> dict[str, Any]:
    """Everything in Redis but the relay's own marks."""
    found: dict[str, Any] = {}
    for key in redis.scan_iter():
        if not str(key).startswith("settings:"):
            found[str(key)] = redis.hgetall(key) if redis.type(key) == "hash" else redis.dump(key)
    return found


def assert_gone(db: Db, redis: redis_py.Redis) -> None:
    """Nothing in PostgreSQL; in Redis version numbers and a random name, for an hour at most."""
    assert not marks(db)
    left = rows(db)
    assert [word for word in (OKX_UID, TELEGRAM_ID, EARLIER, VALUE) if word in left] == []
    for key, fields in content(redis).items():
        assert key in {f"user:{owner}:mirror" for owner in (OKX_UID, TELEGRAM_ID, EARLIER)}
        assert 0 < int(str(redis.ttl(key))) <= 3600
        fields.pop("life", None)
        assert "telegram_id" not in fields
        for name, value in fields.items():
            what = name.partition(":")[2]
            assert what == "updated_at" or (what == "digest" and value == "") or (what == "" and value.isdecimal())
    assert VALUE not in str(content(redis))


async def state(store: SettingsStore) -> list[MirrorEntry]:
    """What a relay, a refill or a save has in hand that has read just now."""
    found = await store._connections.database.fetch(functions.mirror.mirror_source([OKX_UID, TELEGRAM_ID, EARLIER]))
    return [MirrorEntry(**row) for row in found]
