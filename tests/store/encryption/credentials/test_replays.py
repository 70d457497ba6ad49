"""Whoever writes into Redis has what it once held: earlier ciphertext, other people's. None of it passes as current."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from store import Config, DatabaseUnavailable, SettingsStore, UnknownVersion
from store.coherence import relay
from store.coherence.verify import verify
from store.encryption.fields import FIELDS
from store.encryption.rotation import rotate
from tests.conftest import TELEGRAM_ID
from tests.helpers.credentials import KEY, NEW_KEY, OTHER, Db, Redis, old_form, put, sealed, secrets, versions
from tests.store.encryption.credentials.conftest import DATA, MIRROR, other_store, plain, read, run_sync


async def two_versions(store: SettingsStore, user: str, redis: Redis) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Save two versions; return what Redis held with the first one: the keys, and the mirror hash."""
    await store.save_credentials(user, *secrets(1))
    first = redis.hgetall(DATA), redis.hgetall(MIRROR)
    await store.save_credentials(user, *secrets(2))
    await store._connections.marks.clear()
    return first


async def test_old_ciphertext_is_not_the_current_version(
    config: Config, store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    data, _ = await two_versions(store, user, redis)
    put(redis, DATA, data)
    async with SettingsStore(config) as other:  # who has seen nothing yet
        assert await read(other) == (secrets(2), 2, "db")
        assert (await verify(other._connections, repair=True)).remaining == 0
        assert await read(other) == (secrets(2), 2, "redis")
    assert versions(db, config, user) == [secrets(1), secrets(2)]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("version", [1, 2])
async def test_fields_of_two_versions_are_not_taken_together(
    config: Config, store: SettingsStore, user: str, redis: Redis, field: str, version: int
) -> None:
    data, _ = await two_versions(store, user, redis)
    put(redis, DATA, {field: data[field]})
    redis.hset(MIRROR, "api_keys", str(version))
    async with SettingsStore(config) as other:
        assert await read(other) == (secrets(2), 2, "db")


async def test_fields_sealed_as_the_same_version_are_not_taken_together(
    config: Config, store: SettingsStore, user: str, redis: Redis
) -> None:
    await store.save_credentials(user, *secrets(1))
    put(redis, DATA, {"api_key": sealed(user, secrets("another"))["api_key"]})  # of a life before an erasure, say
    async with SettingsStore(config) as other:
        assert await read(other) == (secrets(1), 1, "db")


async def test_all_of_an_old_state_shows_its_age_to_whoever_can_tell(
    config: Config, store: SettingsStore, user: str, redis: Redis
) -> None:
    data, mirror = await two_versions(store, user, redis)
    put(redis, DATA, data)
    put(redis, MIRROR, mirror)
    assert await read(store) == (secrets(2), 2, "db")  # this store saved version 2
    async with SettingsStore(config) as other:
        found = await other.get_credentials(user, min_version=2)
        assert found is not None
        assert (plain(found), found.source) == (secrets(2), "db")
        assert await read(other) == (secrets(2), 2, "db")  # and has seen it by now
        with pytest.raises(UnknownVersion):
            await other.get_credentials(user, min_version=3)
    async with SettingsStore(config) as other:  # nobody can tell from Redis alone, but it is said to be version 1
        assert await read(other) == (secrets(1), 1, "redis")


async def test_deleted_credentials_do_not_come_back_where_the_deletion_is_known(
    store: SettingsStore, user: str, redis: Redis
) -> None:
    data, mirror = await two_versions(store, user, redis)
    await store.delete_credentials(user)
    put(redis, DATA, data)
    put(redis, MIRROR, mirror)
    assert await read(store) is None


async def test_the_old_form_which_binds_no_version_is_believed_from_postgresql_only(
    config: Config, store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    fields = old_form(user, secrets(1))
    db.execute("select save_api_credentials(%s, %s, %s, %s)", (user, *fields.values()))
    await relay.drain(store._connections)
    assert redis.hgetall(DATA) == fields
    assert await read(store) == (secrets(1), 1, "db")
    assert (await rotate(store)).changed == 1
    assert await read(store) == (secrets(1), 1, "redis")
    assert versions(db, config, user) == [secrets(1)]
    await store.save_credentials(user, *secrets(2))
    put(redis, DATA, fields)  # under the number of the current version
    async with SettingsStore(config) as other:
        assert await read(other) == (secrets(2), 2, "db")


@pytest.mark.parametrize("form", ["new", "old"])
@pytest.mark.parametrize("version", ["1", "2", "3", None])
async def test_a_sync_does_not_take_old_ciphertext_for_an_edit(
    store: SettingsStore, user: str, db: Db, redis: Redis, form: str, version: str | None
) -> None:
    data, _ = await two_versions(store, user, redis)
    put(redis, DATA, data if form == "new" else old_form(user, secrets(1)))
    if version is None:
        redis.hdel(MIRROR, "api_keys")
    else:
        redis.hset(MIRROR, "api_keys", version)
    assert await run_sync(store, "redis") == ["stale"]
    assert versions(db, store.config, user) == [secrets(1), secrets(2)]
    assert await read(store) == (secrets(2), 2, "redis")


async def test_a_telegram_id_led_elsewhere_in_redis_leads_to_its_own_credentials(
    config: Config, store: SettingsStore, user: str, redis: Redis
) -> None:
    await store.register(OTHER, "77777")
    await store.save_credentials(user, *secrets("mine"))
    await store.save_credentials(OTHER, *secrets("theirs"))
    redis.set(f"user:{TELEGRAM_ID}:okx_uid", OTHER)
    assert await read(store, TELEGRAM_ID) == (secrets("mine"), 1, "db")
    async with SettingsStore(replace(config, database_url="host=/nowhere")) as alone:
        with pytest.raises(DatabaseUnavailable):
            await alone.get_credentials(TELEGRAM_ID)
        assert await read(alone, user) == (secrets("mine"), 1, "redis")


@pytest.mark.parametrize("mode", ["encrypted", "plain"])
@pytest.mark.parametrize("how", ["relay", "verify"])
async def test_a_relay_without_keys_adds_no_version_to_a_rotation(
    config: Config, store: SettingsStore, user: str, db: Db, redis: Redis, how: str, mode: str
) -> None:
    db.execute("select save_api_credentials(%s, %s, %s, %s)", (user, *old_form(user, secrets(1)).values()))
    await relay.drain(store._connections)
    for keys in ([KEY], [NEW_KEY, KEY], [KEY, NEW_KEY]):
        async with other_store(config, *keys) as rotating:
            assert (await rotate(rotating)).changed == 1
            db.execute("select _mark_pending(%s, 'api_keys', 1)", (user,))
        put(redis, DATA, old_form(user, secrets(1)) if keys == [KEY] else redis.hgetall(DATA))
        async with other_store(config) as keyless:
            if how == "relay":
                await relay.drain(keyless._connections)
            else:
                assert (await verify(keyless._connections, repair=True)).remaining == 0
    async with other_store(config, KEY, NEW_KEY, mode=mode) as reading:
        await verify(reading._connections, repair=True)
        assert await read(reading) == (secrets(1), 1, "redis")
    assert len(versions(db, config, user)) == 1
