"""Whose credentials are: what is copied elsewhere serves nobody, what others put into Redis is not used nor lost."""

from __future__ import annotations

import pytest

from store import Config, SettingsStore
from store.coherence import relay
from store.coherence.verify import verify
from store.encryption.rotation import rotate
from store.encryption.vault import DamagedCredential
from tests.helpers.credentials import HASH, KEY, OTHER, Db, Redis, is_plain_anywhere, put, sealed, secrets, versions
from tests.store.encryption.credentials.conftest import DATA, MIRROR, other_store, read, rogue, set_behind_triggers


def copy_hash(redis: Redis, source: str, target: str) -> None:
    redis.delete(target)
    put(redis, target, redis.hgetall(source))


# -- whose they are


async def test_credentials_copied_in_redis_are_nobody_elses(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    await store.register(OTHER)
    await store.save_credentials(user, *secrets("mine"))
    await store.save_credentials(OTHER, *secrets("theirs"))
    copy_hash(redis, HASH.format(OTHER), DATA)  # another user's
    assert await read(store) == (secrets("mine"), 1, "db")
    await verify(store._connections, repair=True)
    assert await read(store) == (secrets("mine"), 1, "redis")
    fields = redis.hgetall(DATA)
    put(redis, DATA, {"api_key": fields["api_secret"], "api_secret": fields["api_key"]})  # another field's
    assert await read(store) == (secrets("mine"), 1, "db")
    await verify(store._connections, repair=True)
    assert await read(store) == (secrets("mine"), 1, "redis")
    assert versions(db, store.config, user) == [secrets("mine")]


async def test_copied_over_where_postgresql_has_none_there_are_none(
    store: SettingsStore, user: str, redis: Redis
) -> None:
    await store.register(OTHER)
    await store.save_credentials(OTHER, *secrets("theirs"))
    copy_hash(redis, HASH.format(OTHER), DATA)
    put(redis, MIRROR, {"api_keys": "1", "api_keys:updated_at": "2026-01-01T00:00:00+00:00"})
    assert await read(store) is None


async def test_credentials_copied_in_postgresql_are_damaged_and_never_anothers(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    await store.register(OTHER)
    await store.save_credentials(user, *secrets("mine"))
    await store.save_credentials(OTHER, *secrets("theirs"))
    mine, theirs = sealed(user, secrets("mine")), sealed(OTHER, secrets("theirs"))
    for fields in (theirs, {**mine, "api_key": mine["api_secret"]}, {**mine, "passphrase": theirs["passphrase"]}):
        set_behind_triggers(db, **fields)
        redis.flushall()
        with pytest.raises(DamagedCredential):
            await store.get_credentials(user)
        await verify(store._connections, repair=True)  # and so it gets into Redis
        with pytest.raises(DamagedCredential):
            await store.get_credentials(user)
    assert await read(store, OTHER) == (secrets("theirs"), 1, "redis")
    saved = await store.save_credentials(user, *secrets("new"))
    assert await read(store) == (secrets("new"), saved.version, "redis")


@pytest.mark.parametrize("mode", ["encrypted", "off"])
async def test_plain_text_that_a_rogue_puts_into_redis_is_not_used(
    config: Config, user: str, redis: Redis, mode: str
) -> None:
    async with other_store(config, KEY, mode=mode) as store:
        await store.save_credentials(user, *secrets("mine"))
        rogue(redis, secrets("rogue"))
        assert await read(store) == (secrets("mine"), 1, "db")
        put(redis, DATA, dict(sealed(user, secrets("mine")), api_key="plain-key"))
        assert await read(store) == (secrets("mine"), 1, "db")


@pytest.mark.parametrize("act", ["empty", "partly", "other type", "other fields", "nonsense", "mirror hash"])
async def test_what_is_no_credentials_in_redis_is_passed_over_and_repaired(
    store: SettingsStore, user: str, redis: Redis, db: Db, act: str
) -> None:
    await store.save_credentials(user, *secrets(1))
    redis.delete(DATA)
    if act == "empty":
        rogue(redis, ("", "", ""))
    elif act == "partly":
        put(redis, DATA, {"api_key": "plain-key"})
    elif act == "other type":
        redis.rpush(DATA, "x")
    elif act == "other fields":
        put(redis, DATA, dict(sealed(user, secrets(1)), more="x"))
    elif act == "nonsense":
        put(redis, DATA, {"api_key": b"\xff\xfe", "api_secret": "x" * 5000, "passphrase": "x"})
    else:
        redis.delete(MIRROR)
        redis.set(MIRROR, "x")
    assert await read(store) == (secrets(1), 1, "db")
    assert (await verify(store._connections, repair=True)).remaining == 0
    found = await read(store)
    assert found is not None
    assert (found[0], found[2]) == (secrets(1), "redis")
    assert (await store.save_credentials(user, *secrets(2))).mirrored


# -- what somebody else wrote into Redis is not lost


@pytest.mark.parametrize("how", ["save", "verify", "relay"])
async def test_what_overwrites_foreign_credentials_keeps_them_encrypted(
    store: SettingsStore, user: str, db: Db, redis: Redis, how: str
) -> None:
    await store.save_credentials(user, *secrets(1))
    rogue(redis, secrets("found"))
    expected = [secrets(1), secrets("found"), secrets(1)]
    if how == "save":
        assert (await store.save_credentials(user, *secrets(2))).mirrored
        expected = [secrets(1), secrets(2), secrets("found"), secrets(2)]
    elif how == "verify":
        assert (await verify(store._connections, repair=True)).remaining == 0
    else:
        redis.hset(MIRROR, "api_keys", "0")
        db.execute("select _mark_pending(%s, 'api_keys', 1)", (user,))
        await relay.drain(store._connections)
    assert versions(db, store.config, user) == expected
    # What was put back is sealed as the version that it was: Redis isn't believed until it is rotated, or saved again.
    assert await read(store) == (expected[-1], len(expected), "db")
    assert (await rotate(store)).changed == 1
    assert await read(store) == (expected[-1], len(expected), "redis")
    assert (await rotate(store)).changed == 0
    assert not is_plain_anywhere(db, redis)
    reasons = [version.change_reason for version in await store.credentials_history(user)]
    assert reasons[:2] == ["put back", "found in Redis, lost against PostgreSQL"]


async def test_without_a_key_foreign_plain_text_stays_until_somebody_has_one(
    config: Config, user: str, store: SettingsStore, db: Db, redis: Redis
) -> None:
    await store.save_credentials(user, *secrets(1))
    rogue(redis, secrets("found"))
    async with other_store(config) as keyless:
        assert (await verify(keyless._connections, repair=True)).remaining == 1
        assert redis.hget(DATA, "api_key") == secrets("found")[0]
    assert (await verify(store._connections, repair=True)).remaining == 0
    assert versions(db, config, user) == [secrets(1), secrets("found"), secrets(1)]
