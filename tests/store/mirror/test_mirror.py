"""What the mirror must stand: restored databases, flushes and writers at the wrong moment, unreadable content."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import SettingsStore
from store.coherence.relay import Relay, drain, reconcile
from store.coherence.verify import verify

Db = psycopg.Connection[dict[str, Any]]


def _restore_to_version_1(db: Db) -> None:
    """Make PostgreSQL what it was before the params were changed, as a restored backup does."""
    db.execute("set session_replication_role = replica")
    db.execute("delete from user_settings where setting_type = 'params' and not is_active")
    db.execute("update user_settings set version = 1, settings = '{\"leverage\": 10}' where setting_type = 'params'")
    db.execute("delete from mirror_pending")
    db.execute("set session_replication_role = origin")


def _leverages(db: Db) -> list[Any]:
    rows = db.execute(
        "select settings -> 'leverage' as l from user_settings where setting_type = 'params' order by version"
    )
    return [row["l"] for row in rows]


async def test_the_same_version_with_other_content_is_noticed_at_a_save(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    await store.save(user, "params", {"leverage": 50})
    await store._connections.marks.clear()
    _restore_to_version_1(db)
    saved = await store.save(user, "params", {"leverage": 7})
    assert saved.mirrored
    assert json.loads(str(redis.get(f"user:{user}:settings"))) == {"leverage": 7}
    assert 50 in _leverages(db)
    assert not (await verify(store._connections)).findings


async def test_what_only_a_redis_ahead_has_is_kept_when_the_relay_reconciles(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    for leverage in (50, 51):
        await store.save(user, "params", {"leverage": leverage})
    await store._connections.marks.clear()
    _restore_to_version_1(db)
    await reconcile(store._connections)
    assert _leverages(db) == [10, 51, 10]
    assert json.loads(str(redis.get(f"user:{user}:settings"))) == {"leverage": 10}
    assert not (await verify(store._connections)).findings


async def test_a_flush_during_a_reconciliation_starts_it_again(
    store: SettingsStore, db: Db, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("select count(r) from generate_series(1, 500) n, register_user((1000000000000000 + n)::text) r")
    apply, calls = store._connections.mirror.apply, 0

    async def flushing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            redis.flushall()
        return await apply(*arguments, **named)

    monkeypatch.setattr(store._connections.mirror, "apply", flushing)
    await Relay(store._connections).once()
    assert calls > 2
    assert not (await verify(store._connections)).findings


async def test_what_is_written_between_a_look_and_the_repair_is_kept(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    redis.set(f"user:{user}:settings", '{"leverage": 41}')
    apply = store._connections.mirror.apply

    async def raced(entries: Any, seen: Any = None, **more: Any) -> Any:
        monkeypatch.setattr(store._connections.mirror, "apply", apply)
        redis.set(f"user:{user}:settings", '{"leverage": 42}')
        return await apply(entries, seen, **more)

    monkeypatch.setattr(store._connections.mirror, "apply", raced)
    assert not (await verify(store._connections, repair=True)).remaining
    assert _leverages(db) == [10, 41, 10, 42, 10]


@pytest.mark.parametrize(
    "content", ["1e-20000", '{"x": 1e-16383}', "not JSON", '{"x": NaN, "y": 1}', '{"x": "\\u0000"}', "\x00\xff"]
)
async def test_unreadable_content_stops_nobody_and_is_kept_as_text(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis, content: str
) -> None:
    await store.register("1000000000000001")
    redis.set(f"user:{user}:settings", content.encode("latin-1"))
    db.execute("select patch_user_setting(u, 'params', '{\"leverage\": 2}') from unnest(%s::text[]) u",
               (["1000000000000001", user],))  # fmt: skip
    assert (await Relay(store._connections).once()).failures == {}
    assert not (await verify(store._connections)).findings
    kept = db.execute("select count(*) as n from user_settings where settings ? '$unreadable'").fetchone()
    assert kept == {"n": 1}


async def test_one_key_the_catalogue_no_longer_allows_stops_nobody(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 23}')", (user,))
    redis.set(f"user:{user}:settings", '{"leverage": 7}')
    db.execute("update setting_fields set maximum = 12 where key = 'leverage'")
    assert (await Relay(store._connections).once()).failures == {}
    assert not (await verify(store._connections)).findings


async def test_an_edit_of_a_deleted_users_settings_is_kept(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select delete_user(%s)", (user,))
    redis.set(f"user:{user}:settings", '{"leverage": 33}')
    await Relay(store._connections).once()
    assert _leverages(db) == [10, None, 33, None]
    assert redis.get(f"user:{user}:settings") is None
    assert not (await verify(store._connections)).findings


@pytest.mark.parametrize(
    ("mine", "theirs"), [("true", "1"), ("1", "true"), ("0.1234567890123456789", "0.123456789012345678")]
)
async def test_verify_tells_values_apart_that_python_calls_equal(
    store: SettingsStore,
    user: str,
    db: Db,
    redis: redis_py.Redis,
    mine: str,
    theirs: str,
) -> None:
    db.execute("select upsert_user_setting(%s, 'params', %s::jsonb)", (user, f'{{"x": {mine}}}'))
    await drain(store._connections)
    redis.set(f"user:{user}:settings", f'{{"x":{theirs}}}')
    assert (await verify(store._connections)).findings == Counter(edited=1)


async def test_a_hash_of_many_fields_arrives(store: SettingsStore, user: str, redis: redis_py.Redis) -> None:
    document = {f"key {n}": n for n in range(2345)}  # Lua passes on so many arguments at a time
    assert (await store.save(user, "preferences", document)).mirrored
    assert redis.hlen(f"user:{user}:preferences") == len(document)
    assert not (await verify(store._connections)).findings


async def test_large_documents_arrive_and_do_not_starve_the_others(store: SettingsStore, user: str, db: Db) -> None:
    db.execute(
        "select count(upsert_user_setting(u.okx_uid, 'params', jsonb_build_object('x', repeat('y', 900000))))"
        " from (select (ensure_user((1000000000000000 + n)::text)).okx_uid from generate_series(1, 60) n) u"
    )
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (user,))
    await Relay(store._connections).once()
    assert not (await verify(store._connections)).findings
