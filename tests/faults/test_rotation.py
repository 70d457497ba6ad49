"""Rotation and encrypt-existing: all gets under the current key, whoever writes, dies or is damaged meanwhile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store import Config, SettingsStore
from store.coherence import relay
from store.coherence.verify import verify
from store.encryption import rotation
from store.encryption.fields import FIELDS
from store.encryption.rotation import Rotation, rotate, seal_table
from store.models import CredentialsVersion
from tests.faults.servers import RedisServer, wait_until
from tests.helpers.credentials import (
    HASH,
    KEY,
    NEW_KEY,
    Db,
    Redis,
    everything,
    is_plain_anywhere,
    key_ids,
    leave_plain_text,
    put,
    sealed,
    secrets,
    vault,
    versions,
    with_keys,
)

pytestmark = pytest.mark.slow

USERS = [str(1000000000000001 + n) for n in range(20)]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(config: Config) -> Config:
    return with_keys(config, KEY)


@pytest.fixture
def redis(own_redis: RedisServer) -> Redis:
    """A client of the test's own Redis."""
    return own_redis.client()


@pytest.fixture
def rotated(config: Config) -> Config:
    """The configuration with a new key before the old one."""
    return with_keys(config, NEW_KEY, KEY)


@pytest.fixture
async def users(store: SettingsStore) -> list[str]:
    """Users with two versions of credentials each, one of them deleted since."""
    for user in USERS:
        await store.register(user)
        await store.save_credentials(user, *secrets(f"{user}-1"))
        await store.save_credentials(user, *secrets(f"{user}-2"))
    await store.delete_credentials(USERS[0])
    await store._connections.marks.clear()
    return USERS


def given(user: str) -> list[tuple[str, str, str] | None]:
    return [secrets(f"{user}-1"), secrets(f"{user}-2"), *([None] if user == USERS[0] else [])]


LOST_KEY = base64.b64encode(hashlib.sha256(b"a lost key").digest()).decode()
CURRENT = {vault(NEW_KEY).current_key_id}
OLD = {vault(KEY).current_key_id}


async def test_every_version_and_redis_get_under_the_current_key(
    rotated: Config, users: list[str], db: Db, redis: Redis
) -> None:
    assert key_ids(db, redis) == OLD
    numbers = {user: [row.version for row in await history(rotated, user)] for user in users}
    async with SettingsStore(rotated) as store:
        assert await rotate(store) == Rotation(checked=40, changed=40)
        assert await rotate(store) == Rotation(checked=40, changed=0)
        assert key_ids(db, redis) == CURRENT
        assert not (await verify(store._connections)).findings
    only_new = with_keys(rotated, NEW_KEY)
    for user in users:
        assert versions(db, only_new, user) == given(user)
        assert [row.version for row in await history(rotated, user)] == numbers[user]
    async with SettingsStore(only_new) as store:
        found = await store.get_credentials(users[1])
        assert found is not None
        assert (found.api_key, found.version, found.source) == (secrets(f"{users[1]}-2")[0], 2, "redis")


async def history(config: Config, user: str) -> list[CredentialsVersion]:
    async with SettingsStore(config) as store:
        return list(await store.credentials_history(user))


@pytest.mark.parametrize("plain", [False, True])
async def test_a_dry_run_writes_nothing(rotated: Config, users: list[str], db: Db, redis: Redis, plain: bool) -> None:
    if plain:
        leave_plain_text(db)
    before = everything(db, redis)
    async with SettingsStore(rotated) as store:
        assert await rotate(store, plain=plain, dry_run=True) == Rotation(checked=40, changed=40)
    assert everything(db, redis) == before


async def test_one_damaged_value_does_not_stop_the_rest(
    rotated: Config, users: list[str], db: Db, redis: Redis
) -> None:
    db.execute("set session_replication_role = replica")
    foreign = sealed(users[4], secrets("x"))["api_key"]
    db.execute("update okx_api_info set api_key = %s where okx_uid = %s and version = 1", (foreign, users[3]))
    lost = sealed(users[5], secrets("lost"), LOST_KEY)  # by a key that nobody has any more
    db.execute("update okx_api_info set api_secret = %s where okx_uid = %s and is_active",
               (lost["api_secret"], users[5]))  # fmt: skip
    before = {row["id"]: row for row in db.execute("table okx_api_info").fetchall()}
    async with SettingsStore(rotated) as store:
        done = await rotate(store)
    assert (done.checked, done.changed, set(done.failures)) == (40, 38, {users[3], users[5]})
    assert "plain-" not in repr(done)
    for row in db.execute("table okx_api_info").fetchall():
        if (row["okx_uid"], row["version"]) in {(users[3], 1), (users[5], 2)}:
            assert row == before[row["id"]]
        elif row["deleted_at"] is None:
            assert row["api_key"].split(".")[1] in CURRENT


async def test_what_savers_archive_meanwhile_is_rotated_too(
    rotated: Config, users: list[str], db: Db, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "PAGE", 1)
    seen = 0

    def save_for_all(_: int) -> None:  # the old value moves to a row that the page may have passed
        nonlocal seen
        seen += 1
        if seen == 30:
            for user in users[1:]:
                fields = sealed(user, secrets(f"{user}-3"), NEW_KEY).values()
                db.execute("select save_api_credentials(%s, %s, %s, %s)", (user, *fields))

    async with SettingsStore(rotated) as store:
        assert not (await rotate(store, progress=save_for_all)).failures
        await relay.drain(store._connections)
    assert key_ids(db, redis) == CURRENT
    for user in users[1:]:
        assert versions(db, with_keys(rotated, NEW_KEY), user) == [*given(user), secrets(f"{user}-3")]


async def test_savers_that_write_meanwhile_lose_nothing(
    config: Config, rotated: Config, users: list[str], db: Db, redis: Redis
) -> None:
    stop, saved = asyncio.Event(), dict.fromkeys(users[1:4], 0)

    async def save(user: str, with_: Config) -> None:
        async with SettingsStore(with_) as store:
            while not stop.is_set():
                saved[user] += 1
                await store.save_credentials(user, *secrets(f"{user}-{saved[user] + 2}"))

    # One of them hasn't got the new key yet.
    savers = [
        asyncio.create_task(save(user, with_)) for user, with_ in zip(saved, (config, rotated, rotated), strict=True)
    ]
    async with SettingsStore(rotated) as store:
        while not all(saved.values()):
            await asyncio.sleep(0.001)
        await rotate(store)
        stop.set()
        await asyncio.gather(*savers)
        await rotate(store)
        await relay.drain(store._connections)
        assert not (await verify(store._connections)).findings
    assert key_ids(db, redis) == CURRENT
    for user, number in saved.items():
        assert versions(db, with_keys(rotated, NEW_KEY), user) == [secrets(f"{user}-{n}") for n in range(1, number + 3)]


def kill_in_the_middle(config: Config, db: Db, left: Callable[[], int], *arguments: str) -> None:
    """Run `settings-store keys …` and kill it once it has done a part of the work, but not all."""
    before = left()
    env = {**os.environ, "DATABASE_URL": str(config.database_url), "REDIS_URL": str(config.redis_url),
           "SETTINGS_STORE_KEYS": f"{NEW_KEY},{KEY}"}  # fmt: skip
    code = "import store.encryption.rotation as r, cli; r.PAGE = 10; cli.main()"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=env, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        wait_until(lambda: left() < before - 14 or process.poll() is not None)
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: is_alone(db))
    assert 0 < left() < before, "it wasn't killed in the middle"


def is_alone(db: Db) -> bool:
    row = db.execute(
        "select count(*) as n from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
    ).fetchone()
    return row is not None and row["n"] == 0


@pytest.fixture
async def many(store: SettingsStore, db: Db) -> list[str]:
    """So many users with credentials that a rotation takes a while."""
    users = [str(1000000000000001 + n) for n in range(300)]
    db.execute("select count(ensure_user(u)) from unnest(%s::text[]) u", (users,))
    for user in users:
        fields = sealed(user, secrets(user)).values()
        db.execute("select save_api_credentials(%s, %s, %s, %s)", (user, *fields))
    await relay.drain(store._connections)
    await store._connections.close()
    return users


async def test_a_rotation_killed_in_the_middle_is_finished_by_another(
    rotated: Config, many: list[str], db: Db, redis: Redis
) -> None:
    def left() -> int:
        rows = db.execute(
            "select from okx_api_info where api_key not like %s", (f"v2.{next(iter(CURRENT))}.%",)
        ).fetchall()
        return len(rows)

    kill_in_the_middle(rotated, db, left, "keys", "rotate")
    async with SettingsStore(rotated) as store:
        done = await rotate(store)
        assert (done.failures, done.mirrored) == ({}, True)
        assert 0 < done.changed < 300
        assert key_ids(db, redis) == CURRENT
        assert not (await verify(store._connections)).findings
    for user in many:
        assert versions(db, with_keys(rotated, NEW_KEY), user) == [secrets(user)]


# -- encrypt-existing


def plain_in(db: Db) -> int:
    return len(db.execute("select from okx_api_info where api_key like 'plain-%'").fetchall())


def as_an_older_system_left_redis(redis: Redis, db: Db) -> None:
    """Plain text, without a version of ours."""
    for row in db.execute("select * from okx_api_info where is_active and api_key like 'plain-%'").fetchall():
        put(redis, HASH.format(row["okx_uid"]), {name: row[name] for name in FIELDS})
        redis.hdel(f"user:{row['okx_uid']}:mirror", "api_keys", "api_keys:digest", "api_keys:updated_at")


def is_sealed_for_good(db: Db) -> bool:
    query = "select convalidated from pg_constraint where conname = 'okx_api_info_ciphertext'"
    row = db.execute(query).fetchone()
    return bool(row and row["convalidated"])


async def test_plain_text_of_an_older_system_is_encrypted_everywhere(
    rotated: Config, users: list[str], db: Db, redis: Redis
) -> None:
    leave_plain_text(db, kept=f"okx_uid = '{users[2]}'")  # some were encrypted already
    as_an_older_system_left_redis(redis, db)
    assert plain_in(db) == 38
    async with SettingsStore(rotated) as store:
        assert await seal_table(store) == 38
        assert not is_sealed_for_good(db)
        assert await rotate(store, plain=True) == Rotation(checked=40, changed=38)
        assert await seal_table(store) == 0
        assert is_sealed_for_good(db)
        assert not is_plain_anywhere(db, redis)
        assert not (await verify(store._connections)).findings
    for user in users:
        assert versions(db, rotated, user) == given(user)


async def test_encryption_of_plain_text_killed_in_the_middle_is_finished_by_another(
    rotated: Config, many: list[str], db: Db, redis: Redis
) -> None:
    leave_plain_text(db)
    as_an_older_system_left_redis(redis, db)
    kill_in_the_middle(rotated, db, lambda: plain_in(db), "keys", "encrypt-existing")
    assert not is_sealed_for_good(db)
    async with SettingsStore(rotated) as store:
        assert (await rotate(store, plain=True)).mirrored
        assert await seal_table(store) == 0
        assert not is_plain_anywhere(db, redis)
        assert not (await verify(store._connections)).findings
    assert {len(versions(db, rotated, user)) for user in many} == {1}


@pytest.mark.parametrize("plain", [False, True])
async def test_a_second_run_brings_to_redis_what_the_first_did_not_get_to(
    config: Config, rotated: Config, users: list[str], db: Db, redis: Redis, own_redis: RedisServer, plain: bool
) -> None:
    if plain:
        leave_plain_text(db)
        as_an_older_system_left_redis(redis, db)
        redis.save()
    own_redis.stop()
    async with SettingsStore(rotated) as store:
        first = await rotate(store, plain=plain)
    assert (first.changed, first.mirrored) == (40, False)
    own_redis.start()
    async with SettingsStore(rotated) as store:
        assert await rotate(store, plain=plain) == Rotation(checked=40, changed=0)
    assert key_ids(db, redis) == CURRENT
    assert not is_plain_anywhere(db, redis)


async def test_plain_text_that_cannot_be_encrypted_is_named_and_keeps_the_table_open(
    rotated: Config, users: list[str], db: Db, redis: Redis
) -> None:
    leave_plain_text(db, too_long=f"okx_uid = '{users[3]}' and is_active")
    async with SettingsStore(rotated) as store:
        done = await rotate(store, plain=True)
        assert (done.changed, set(done.failures)) == (39, {users[3]})
        assert "plain-" not in json.dumps(done.failures)
        assert await seal_table(store) == 1
    assert not is_sealed_for_good(db)
