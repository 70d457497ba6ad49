"""Credentials that only Redis has or has otherwise: what a sync takes over, and what it leaves and reports."""

from __future__ import annotations

import pytest

from store import SettingsStore
from store.coherence.sync import Prefer
from store.coherence.verify import verify
from store.encryption.fields import FIELDS
from tests.conftest import OKX_UID
from tests.helpers.credentials import OTHER, Db, Redis, everything, is_plain_anywhere, put, secrets, versions
from tests.store.encryption.credentials.conftest import DATA, MIRROR, read, rogue, run_sync


@pytest.mark.parametrize("whom", [OKX_UID, OTHER])
async def test_credentials_that_only_redis_has_are_taken_over(
    store: SettingsStore, user: str, db: Db, redis: Redis, whom: str
) -> None:
    rogue(redis, secrets(1), whom)
    before = everything(db, redis)
    assert await run_sync(store, dry_run=True) == ["new"]
    assert everything(db, redis) == before
    assert await run_sync(store) == ["new"]
    assert await run_sync(store) == []
    assert versions(db, store.config, whom) == [secrets(1)]
    assert not is_plain_anywhere(db, redis)
    assert await read(store, whom) == (secrets(1), 1, "redis")
    assert not (await verify(store._connections)).findings
    assert [v.change_reason for v in await store.credentials_history(whom)] == ["found in Redis"]


async def test_registration_takes_over_what_only_redis_has(store: SettingsStore, db: Db, redis: Redis) -> None:
    rogue(redis, secrets(1))
    await store.register(OKX_UID)
    assert await read(store) == (secrets(1), 1, "redis")
    assert not is_plain_anywhere(db, redis)


async def test_an_edit_in_redis_becomes_a_version(store: SettingsStore, user: str, db: Db, redis: Redis) -> None:
    await store.save_credentials(user, *secrets(1))
    rogue(redis, secrets("edited"))
    assert await run_sync(store, dry_run=True) == ["edited"]
    assert await run_sync(store) == ["edited"]
    assert versions(db, store.config, user) == [secrets(1), secrets("edited")]
    assert await read(store) == (secrets("edited"), 2, "redis")
    assert not is_plain_anywhere(db, redis)


async def test_a_stale_key_is_mirrored_again(store: SettingsStore, user: str, db: Db, redis: Redis) -> None:
    await store.save_credentials(user, *secrets(1))
    old = redis.hgetall(DATA)
    await store.save_credentials(user, *secrets(2))
    for values in ([old[name] for name in FIELDS], secrets(1)):
        put(redis, DATA, dict(zip(FIELDS, values, strict=True)))
        redis.hset(MIRROR, "api_keys", "1")
        assert await run_sync(store) == ["stale"]
        assert await read(store) == (secrets(2), 2, "redis")
    assert versions(db, store.config, user) == [secrets(1), secrets(2)]


@pytest.mark.parametrize("prefer", [None, "redis", "db"])
async def test_in_a_conflict_the_loser_is_in_the_history(
    store: SettingsStore, user: str, db: Db, redis: Redis, prefer: Prefer | None
) -> None:
    await store.save_credentials(user, *secrets(1))
    await store.save_credentials(user, *secrets(2))
    rogue(redis, secrets("redis"))
    redis.hset(MIRROR, "api_keys", "1")
    await store._connections.marks.clear()
    before = everything(db, redis)
    await run_sync(store, prefer, dry_run=True)
    assert everything(db, redis) == before
    assert await run_sync(store, prefer) == [f"conflict, {prefer} wins" if prefer else "conflict"]
    if prefer is None:
        assert everything(db, redis) == before
        return
    ours, theirs = secrets(2), secrets("redis")
    expected = [secrets(1), ours, theirs] if prefer == "redis" else [secrets(1), ours, theirs, ours]
    assert versions(db, store.config, user) == expected
    assert await read(store) == (expected[-1], len(expected), "redis" if prefer == "redis" else "db")
    assert not is_plain_anywhere(db, redis)


async def test_the_same_without_our_mark_is_marked(store: SettingsStore, user: str, db: Db, redis: Redis) -> None:
    await store.save_credentials(user, *secrets(1))
    redis.delete(MIRROR)
    rogue(redis, secrets(1))
    assert await run_sync(store) == ["same"]
    assert versions(db, store.config, user) == [secrets(1)]
    assert await read(store) == (secrets(1), 1, "redis")
    assert not is_plain_anywhere(db, redis)


async def test_a_deleted_users_credentials_are_not_taken_over(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    await store.save_credentials(user, *secrets(1))
    await store.delete_user(user)
    rogue(redis, secrets(2))
    assert await run_sync(store) == ["deleted"]
    assert versions(db, store.config, user) == [secrets(1), None]
    assert redis.exists(DATA)


@pytest.mark.parametrize("content", ["incomplete", "empty field", "extra field", "string", "list", "too long"])
async def test_what_cannot_be_taken_over_is_reported_and_left(
    store: SettingsStore, user: str, db: Db, redis: Redis, content: str
) -> None:
    await store.register(OTHER)
    rogue(redis, secrets("good"), OTHER)
    fields = dict(zip(FIELDS, secrets(1), strict=True))
    if content == "string":
        redis.set(DATA, "plain-secret")
    elif content == "list":
        redis.rpush(DATA, "plain-secret")
    else:
        odd = {"incomplete": {}, "empty field": {"passphrase": ""}, "extra field": {"plain-x": "plain-x"},
               "too long": {"passphrase": "plain-" * 1000}}[content]  # fmt: skip
        put(redis, DATA, dict(fields, **odd))
        if content == "incomplete":
            redis.hdel(DATA, "passphrase")
    before = redis.dump(DATA)
    assert sorted(await run_sync(store)) == ["bad", "new"]
    assert redis.dump(DATA) == before
    assert versions(db, store.config, user) == []
    assert versions(db, store.config, OTHER) == [secrets("good")]


async def test_one_that_postgresql_refuses_keeps_no_other_from_being_taken_over(
    store: SettingsStore, db: Db, redis: Redis
) -> None:
    many = [str(int(OTHER) + n) for n in range(1, 8)]
    for n, okx_uid in enumerate(many):
        rogue(redis, secrets(n), okx_uid)
    db.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;"
        "create trigger refuse before insert on okx_api_info for each row"
        f" when (new.okx_uid = '{many[3]}') execute function refuse()"
    )
    assert sorted(await run_sync(store)) == ["bad"] + ["new"] * 6
    assert [versions(db, store.config, okx_uid) for okx_uid in many] == [
        [] if n == 3 else [secrets(n)] for n in range(7)
    ]


async def test_one_users_credentials_are_taken_over_alone(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    rogue(redis, secrets(1))
    rogue(redis, secrets(2), OTHER)
    assert await run_sync(store, okx_uid=OTHER) == ["new"]
    assert (versions(db, store.config, user), versions(db, store.config, OTHER)) == ([], [secrets(2)])
