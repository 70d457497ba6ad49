"""Credentials in Redis: mirrored encrypted, plain or not at all, checked, repaired, filled in again."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from store import Config, SettingsStore
from store.coherence import relay
from store.coherence.verify import verify
from store.encryption.fields import FIELDS
from store.errors import RedisUnavailable
from tests.conftest import OKX_UID
from tests.helpers.credentials import (
    HASH,
    KEY,
    OTHER,
    Db,
    Redis,
    is_plain_anywhere,
    opened,
    put,
    sealed,
    secrets,
    versions,
)
from tests.store.encryption.credentials.conftest import (
    DATA,
    MIRROR,
    marks,
    other_store,
    read,
    rogue,
    set_behind_triggers,
)

MODES = ("encrypted", "plain", "off")


# -- the mirror


async def test_an_older_version_never_comes_back(store: SettingsStore, user: str, db: Db) -> None:
    entries = []
    for n in (1, 2, 3):
        await store.save_credentials(user, *secrets(n))
        entries += [entry async for entry in entries_of(store)]
    for order in itertools.permutations(entries):
        await store._connections.mirror.apply(list(order))
        assert await read(store) == (secrets(3), 3, "redis")
    assert len(versions(db, store.config, user)) == 3


async def entries_of(store: SettingsStore) -> AsyncIterator[Any]:
    from store.models import MirrorEntry
    from store.postgres import functions

    for row in await store._connections.database.fetch(functions.mirror.mirror_state([OKX_UID], ["api_keys"])):
        yield MirrorEntry(**row)


async def test_what_psql_writes_reaches_redis_through_the_relay(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    db.execute("select save_api_credentials(%s, %s, %s, %s)", (user, *sealed(user, secrets(1)).values()))
    assert marks(db) == {(user, 1)}
    await relay.drain(store._connections)
    assert marks(db) == set()
    assert await read(store) == (secrets(1), 1, "redis")
    db.execute("select delete_api_credentials(%s)", (user,))
    await relay.drain(store._connections)
    assert not redis.exists(DATA)


async def test_each_kind_of_finding_is_found_and_repaired(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    await store.save_credentials(user, *secrets(1))
    old = redis.hgetall(DATA)
    await store.save_credentials(user, *secrets(2))

    def stale() -> None:
        put(redis, DATA, old)
        redis.hset(MIRROR, "api_keys", "1")

    def pending() -> None:
        stale()
        db.execute("select _mark_pending(%s, 'api_keys', 2)", (user,))

    def ahead() -> None:
        redis.hset(MIRROR, "api_keys", "9")

    cases: dict[str, Callable[[], object]] = {
        "missing": lambda: redis.delete(DATA),
        "stale": stale,
        "pending": pending,
        "edited": lambda: redis.hset(DATA, "api_key", old["api_key"]),
        "ahead": ahead,
        "unmarked": lambda: redis.hdel(MIRROR, "api_keys"),
    }
    for expected, act in cases.items():
        act()
        report = await verify(store._connections)
        assert [(f.owner, f.kind, f.finding) for f in report.users] == [(user, "api_keys", expected)]
        assert (await verify(store._connections, repair=True)).remaining == 0, expected
        assert not (await verify(store._connections)).findings, expected
        found = await read(store)
        assert found is not None
        assert (found[0], found[2]) == (secrets(2), "redis"), expected
    await store.delete_credentials(user)
    put(redis, DATA, old)
    report = await verify(store._connections, repair=True)
    assert (report.findings, report.remaining) == (Counter(orphan=1), 0)
    assert not redis.exists(DATA)
    assert await read(store) is None


async def test_what_redis_holds_of_nobody_is_left_to_sync(store: SettingsStore, redis: Redis) -> None:
    rogue(redis, secrets(1), OTHER)
    report = await verify(store._connections, repair=True)
    assert (report.findings, report.repaired) == (Counter(unmarked=1), 0)
    assert redis.hget(HASH.format(OTHER), "api_key") == secrets(1)[0]


async def test_a_flushed_redis_is_filled_again(store: SettingsStore, user: str, redis: Redis) -> None:
    await store.save_credentials(user, *secrets(1))
    redis.flushall()
    await relay.Relay(store._connections).once()
    assert await read(store) == (secrets(1), 1, "redis")


# -- how Redis holds them


@pytest.mark.parametrize("mode", MODES)
async def test_the_modes(config: Config, user: str, db: Db, redis: Redis, mode: str) -> None:
    async with other_store(config, KEY, mode=mode) as store:
        saved = await store.save_credentials(user, *secrets(1))
        assert saved.mirrored
        assert await read(store) == (secrets(1), 1, "db" if mode == "off" else "redis")
        assert not (await verify(store._connections)).findings
        if mode == "plain":  # bare, as bots read it
            assert redis.hgetall(DATA) == dict(zip(FIELDS, secrets(1), strict=True))
        elif mode == "encrypted":
            assert opened(store.config, user, redis.hgetall(DATA)) == secrets(1)
        else:
            assert not redis.exists(DATA)
        assert is_plain_anywhere(db, redis) is (mode == "plain")
        await store.delete_credentials(user)
        assert not redis.exists(DATA)
        assert not (await verify(store._connections)).findings


@pytest.mark.parametrize("by", ["verify", "relay"])
@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(MODES, 2)))
async def test_every_switch_of_the_mode_converges_and_leaves_nothing_behind(
    config: Config, user: str, db: Db, redis: Redis, before: str, after: str, by: str
) -> None:
    async with other_store(config, KEY, mode=before) as store:
        await store.save_credentials(user, *secrets(1))
        await relay.Relay(store._connections).once()
    async with other_store(config, KEY, mode=after) as store:
        assert (await verify(store._connections)).findings.total() == 1
        if by == "verify":
            assert (await verify(store._connections, repair=True)).remaining == 0
        else:
            await relay.Relay(store._connections).once()
        assert not (await verify(store._connections)).findings
        assert (redis.hgetall(DATA) == dict(zip(FIELDS, secrets(1), strict=True))) is (after == "plain")
        assert bool(redis.exists(DATA)) is (after != "off")
        assert is_plain_anywhere(db, redis) is (after == "plain")
        assert await read(store) == (secrets(1), 1, "db" if after == "off" else "redis")
    assert versions(db, config, user) == [secrets(1)]


async def test_one_damaged_value_does_not_keep_a_plain_mirror_from_the_rest(
    config: Config, user: str, db: Db, redis: Redis
) -> None:
    async with other_store(config, KEY, mode="plain") as store:
        await store.register(OTHER)
        await store.save_credentials(user, *secrets(1))
        await store.save_credentials(OTHER, *secrets(2))
        set_behind_triggers(db, **sealed(OTHER, secrets(2)))
        redis.flushall()
        progress = await relay.Relay(store._connections).once()
        assert set(progress.failures) == {(user, "api_keys")}
        assert await read(store, OTHER) == (secrets(2), 1, "redis")
        redis.hset(f"user:{OTHER}:dual_side", "use_dual_sl", "True")
        report = await verify(store._connections, repair=True)
        assert (report.findings["edited"], report.remaining) == (1, 1)
        assert {(f.owner, f.kind) for f in report.users} == {(OTHER, "dual_side"), (user, "api_keys")}


async def test_a_redis_that_is_away_costs_nothing_but_the_mirror(
    config: Config, user: str, db: Db, redis: Redis
) -> None:
    nowhere = replace(config, redis_url="redis://127.0.0.1:1")
    async with SettingsStore(nowhere) as store:
        saved = await store.save_credentials(user, *secrets(1))
        assert (saved.version, saved.mirrored) == (1, False)
        assert await read(store) == (secrets(1), 1, "db")
        deleted = await store.delete_credentials(user)
        assert deleted is not None
        assert (deleted.version, deleted.mirrored) == (2, False)
        assert (await store.save_credentials(user, *secrets(2))).version == 3
        with pytest.raises(RedisUnavailable):
            await relay.drain(store._connections)
    assert marks(db) == {(user, 3)}
    async with SettingsStore(config) as store:
        await relay.drain(store._connections)
        assert await read(store) == (secrets(2), 3, "redis")
    assert marks(db) == set()
