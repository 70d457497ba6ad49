"""What somebody with write access to Redis may put there stops nobody: not the other users, not a job, not a machine's
memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Config, SettingsStore
from tests.faults.measured import command
from tests.faults.servers import RedisServer

pytestmark = pytest.mark.slow

Db = psycopg.Connection[dict[str, Any]]
OTHERS = [f"10000000000000{number:02}" for number in range(20)]
HUGE, LARGE = 100_000_000, 30_000_000  # bytes


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that only this test uses, and whose disk nobody has to wait for."""
    with RedisServer() as server:
        with server.client() as redis:
            redis.config_set("appendonly", "no")
        yield server


class Target:
    """The keys of a user, of which the tests know the number."""

    def __init__(self, redis: redis_py.Redis, number: int) -> None:
        self.redis = redis
        self.okx_uid, self.telegram_id = f"20000000000000{number:02}", f"90000{number:02}"
        self.settings, self.preferences, self.mirror = (
            f"user:{self.okx_uid}:{suffix}" for suffix in ("settings", "preferences", "mirror")
        )
        self.link = f"user:{self.telegram_id}:okx_uid"

    def huge(self, key: str) -> None:
        self.redis.delete(key)
        self.redis.setrange(key, HUGE, "x")

    def huge_field(self, key: str, name: str = "note") -> None:
        self.redis.hset(key, name, "1" * LARGE)

    def many_fields(self, key: str) -> None:
        for start in range(0, 300_000, 10_000):
            self.redis.hset(key, mapping={f"f{n}": n for n in range(start, start + 10_000)})

    def replace(self, key: str, write: Callable[[], Any]) -> None:
        self.redis.delete(key)
        write()


ATTACKS: dict[str, Callable[[Target], Any]] = {
    "a huge text": lambda at: at.huge(at.settings),
    "a huge text for a hash": lambda at: at.huge(at.preferences),
    "a huge value": lambda at: at.huge_field(at.preferences),
    "a huge name": lambda at: at.huge_field(at.preferences, "x" * LARGE),
    "many fields": lambda at: at.many_fields(at.preferences),
    "a huge link": lambda at: at.huge(at.link),
    "a huge version": lambda at: at.huge_field(at.mirror, "params"),
    "a huge time": lambda at: at.huge_field(at.mirror, "params:updated_at"),
    "a huge digest": lambda at: at.huge_field(at.mirror, "params:digest"),
    "a huge Telegram ID": lambda at: at.huge_field(at.mirror, "telegram_id"),
    "a mirror hash of many fields": lambda at: at.many_fields(at.mirror),
    "a mirror that is no hash": lambda at: at.huge(at.mirror),
    "a list": lambda at: at.replace(at.settings, lambda: at.redis.lpush(at.settings, *["x"] * 100_000)),
    "a sorted set": lambda at: at.replace(at.preferences, lambda: at.redis.zadd(at.preferences, {"a": 1})),
    "a stream": lambda at: at.replace(at.settings, lambda: at.redis.xadd(at.settings, {"a": "b"})),
    "a link that is a set": lambda at: at.replace(at.link, lambda: at.redis.sadd(at.link, at.okx_uid)),
    "a key of a huge name": lambda at: at.redis.set(f"user:{at.okx_uid}:{'x' * 5_000_000}", "x"),
    "numbers that expand": lambda at: at.redis.set(at.settings, '{"a": [' + ",".join(["1e-16383"] * 60_000) + "]}"),
    "many lists": lambda at: at.redis.set(at.settings, '{"a": [' + ",".join(["[]"] * 340_000) + "]}"),
    "deep lists": lambda at: at.redis.set(at.settings, '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
}


async def test_what_is_put_into_some_users_keys_stops_nobody(
    store: SettingsStore, config: Config, own_redis: RedisServer, db: Db
) -> None:
    with own_redis.client() as redis:
        targets = [Target(redis, number) for number in range(len(ATTACKS))]
        for target in targets:
            await store.register(target.okx_uid, target.telegram_id)
        for attack, target in zip(ATTACKS.values(), targets, strict=True):
            attack(target)
        changed = [(target.okx_uid, kind) for target in targets for kind in ("params", "preferences")]
        for okx_uid, kind in changed:  # by a program that knows nothing of Redis
            db.execute('select upsert_user_setting(%s, %s, \'{"note": "new"}\')', (okx_uid, kind))
        for other in OTHERS:
            db.execute("select register_user(%s)", (other,))

        for name, target in zip(ATTACKS, targets, strict=True):
            for identifier in (target.okx_uid, target.telegram_id):
                found = await store.get(identifier, "params", min_version=2)
                assert found is not None, name
                assert (found.okx_uid, found.settings) == (target.okx_uid, {"note": "new"}), name
        for attack, target in zip(ATTACKS.values(), targets, strict=True):
            attack(target)

        for arguments in (
            ("verify", "--json"), ("sync", "--dry-run"), ("relay", "--once"), ("verify", "--repair"), ("verify",),
        ):  # fmt: skip
            done = command(config, *arguments)
            assert done.is_fair, f"{arguments}: {done.code}, {done.peak:.0f} MB: {done.err[-2000:]}"
        assert done.code == 0, done.out
        assert redis.exists(*(f"user:{other}:settings" for other in OTHERS)) == len(OTHERS)


@pytest.mark.parametrize("attack", ["a huge text", "many fields", "a huge value"])
async def test_what_is_larger_than_a_document_is_named_noted_and_overwritten(
    store: SettingsStore, config: Config, own_redis: RedisServer, db: Db, attack: str
) -> None:
    with own_redis.client() as redis:
        target = Target(redis, 0)
        await store.register(target.okx_uid, target.telegram_id)
        ATTACKS[attack](target)
        report = json.loads(command(config, "verify", "--json").out)
        assert report["findings"] == {"large": 1}
        assert "1 large" in command(config, "status").out
        synced = command(config, "sync")
        assert "larger than a document can be" in synced.out
        assert command(config, "verify", "--repair").code == 0
        assert command(config, "verify").code == 0
    (note,) = db.execute(
        "select s.settings -> '$too_large' as note, s.version, s.setting_type, s.is_active,"
        " a.settings = f.settings as is_back"
        " from user_settings s join user_settings a using (user_id, setting_type)"
        " join user_settings f using (user_id, setting_type)"
        " where s.settings ? '$too_large' and a.is_active and f.version = 1"
    ).fetchall()
    assert int(note["note"].get("bytes") or note["note"]["bytes in Redis"]) > 1_048_576
    assert not note["is_active"]
    assert note["is_back"]
    with pytest.raises(psycopg.Error, match="is no document"):
        db.execute("select rollback_user_setting(%s, %s, %s)", (target.okx_uid, note["setting_type"], note["version"]))


async def test_many_large_edits_at_once_are_kept_a_few_at_a_time(
    store: SettingsStore, config: Config, own_redis: RedisServer, db: Db
) -> None:
    others = [f"10000000000{number:05}" for number in range(110)]  # more than a job may hold
    db.execute("select count(*) from unnest(%s::text[]) u, register_user(u)", (others,))
    assert command(config, "relay", "--once").code == 0
    with own_redis.client() as redis:
        for other in others:
            redis.set(f"user:{other}:settings", json.dumps({"note": "x" * 1_000_000}))
    db.execute(
        "select count(*) from unnest(%s::text[]) u, patch_user_setting(u, 'params', '{\"leverage\": 3}')", (others,)
    )
    done = command(config, "relay", "--once")
    assert (done.code, done.is_fair) == (0, True), f"{done.peak:.0f} MB: {done.err[-2000:]}"
    kept = db.execute("select count(*) as n from user_settings where length(settings ->> 'note') = 1000000").fetchone()
    assert kept == {"n": len(others)}
