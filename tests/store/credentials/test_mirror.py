"""API credentials: encrypted here, versioned, mirrored, and never anybody else's."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from store import Config, InvalidArgument, SettingsStore, UnknownUser, VersionConflict, relay
from store.archive import backup, restore_backup
from store.errors import BadIdentifier, RedisUnavailable
from store.exchange import export_users
from store.models import Credentials
from store.sealed import FIELDS
from store.sync import Outcome, Prefer, Sync
from store.vault import DamagedCredential, NoEncryptionKey, WrongEncryptionKey
from store.verify import verify
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.credentials import (
    HASH,
    KEY,
    NEW_KEY,
    OTHER,
    Db,
    Plain,
    Redis,
    everything,
    is_plain_anywhere,
    opened,
    put,
    sealed,
    secrets,
    versions,
    with_keys,
)

DATA, MIRROR = HASH.format(OKX_UID), f"user:{OKX_UID}:mirror"
MODES = ("encrypted", "plain", "off")


@pytest.fixture
def config(config: Config) -> Config:
    """The configuration with an encryption key."""
    return with_keys(config, KEY)


@asynccontextmanager
async def other_store(config: Config, *keys: str, mode: str = "encrypted") -> AsyncIterator[SettingsStore]:
    """A store with these encryption keys (none: without) and this MIRROR_CREDENTIALS."""
    async with SettingsStore(with_keys(config, *keys, mode=mode)) as store:
        yield store


async def read(store: SettingsStore, identifier: str = OKX_UID) -> tuple[Plain, int, str] | None:
    """The credentials, their version, and which store they came from."""
    found = await store.get_credentials(identifier)
    return None if found is None else (plain(found), found.version, found.source)


def plain(found: Credentials) -> Plain:
    return found.api_key, found.api_secret, found.passphrase


def marks(db: Db) -> set[tuple[str, int]]:
    rows = db.execute("select owner, version from mirror_pending where kind = 'api_keys'").fetchall()
    return {(row["owner"], row["version"]) for row in rows}


def rogue(redis: Redis, values: Plain, okx_uid: str = OKX_UID) -> None:
    """Somebody writes plain text into Redis."""
    put(redis, HASH.format(okx_uid), dict(zip(FIELDS, values, strict=True)))


def copy_hash(redis: Redis, source: str, target: str) -> None:
    redis.delete(target)
    put(redis, target, redis.hgetall(source))


def set_behind_triggers(db: Db, **fields: str) -> None:
    """A superuser changes the active row without triggers."""
    db.execute("set session_replication_role = replica")
    for name, text in fields.items():
        db.execute(f"update okx_api_info set {name} = %s where okx_uid = %s and is_active", (text, OKX_UID))
    db.execute("set session_replication_role = origin")


# -- saving and reading


async def test_what_was_saved_comes_back_from_redis_and_without_it_from_postgresql(
    store: SettingsStore, user: str, redis: Redis
) -> None:
    saved = await store.save_credentials(user, *secrets(1), actor="ops", reason="first")
    assert (saved.okx_uid, saved.version, saved.mirrored, saved.is_deleted) == (user, 1, True, False)
    for identifier in (user, TELEGRAM_ID):
        assert await read(store, identifier) == (secrets(1), 1, "redis")
    found = await store.get_credentials(user)
    assert found is not None
    assert found.updated_at == saved.updated_at
    redis.flushall()
    assert await read(store) == (secrets(1), 1, "db")
    assert await read(store, TELEGRAM_ID) == (secrets(1), 1, "db")
    (version,) = await store.credentials_history(user)
    assert (version.changed_by, version.change_reason, version.is_deleted) == ("ops", "first", False)


async def test_no_plain_text_is_in_either_store(store: SettingsStore, user: str, db: Db, redis: Redis) -> None:
    await store.save_credentials(user, *secrets(1))
    await store.save_credentials(user, *secrets(2))
    assert set(redis.hgetall(DATA)) == set(FIELDS)
    assert not is_plain_anywhere(db, redis)


@pytest.mark.parametrize(
    "text", ["한글 비밀", " leading and trailing ", "x", "line\nbreak\0", "x" * 4096, "v1.", "a'\"\\"]
)
async def test_any_text_comes_back_exactly(store: SettingsStore, user: str, redis: Redis, text: str) -> None:
    await store.save_credentials(user, text, text, text)
    assert await read(store) == ((text, text, text), 1, "redis")
    redis.flushall()
    assert await read(store) == ((text, text, text), 1, "db")


async def test_what_cannot_be_a_credential_is_refused(store: SettingsStore, user: str, db: Db) -> None:
    await store.save_credentials(user, *secrets(1))
    bad: list[Any] = ["", "x" * 4097, "\ud800", None, 5, b"x", sealed(user, secrets(1))["api_key"]]
    for text, place in itertools.product(bad, range(3)):
        values: list[Any] = list(secrets(2))
        values[place] = text
        with pytest.raises(InvalidArgument) as error:
            await store.save_credentials(user, *values)
        assert str(error.value).startswith(f"{FIELDS[place]}: ")
    assert versions(db, store.config, user) == [secrets(1)]


async def test_the_same_again_makes_no_version(store: SettingsStore, user: str, db: Db) -> None:
    first = await store.save_credentials(user, *secrets(1))
    again = await store.save_credentials(user, *secrets(1))
    assert again == first
    assert (await store.save_credentials(user, *secrets(1), expected_version=1)).version == 1
    with pytest.raises(VersionConflict):
        await store.save_credentials(user, *secrets(1), expected_version=0)
    assert versions(db, store.config, user) == [secrets(1)]
    for place in range(3):
        values = list(secrets(1))
        values[place] += "!"
        assert (await store.save_credentials(user, *values)).version == 2 * place + 2
        await store.save_credentials(user, *secrets(1))


async def test_expected_versions(store: SettingsStore, user: str, db: Db) -> None:
    assert (await store.save_credentials(user, *secrets(1), expected_version=0)).version == 1
    assert (await store.save_credentials(user, *secrets(2), expected_version=1)).version == 2
    with pytest.raises(VersionConflict) as error:
        await store.save_credentials(user, *secrets(3), expected_version=1)
    assert "plain-" not in f"{error.value!r} {error.value.detail}"
    with pytest.raises(VersionConflict):
        await store.delete_credentials(user, expected_version=1)
    deleted = await store.delete_credentials(user, expected_version=2)
    assert deleted is not None
    assert (await store.save_credentials(user, *secrets(1), expected_version=3)).version == 4
    assert versions(db, store.config, user) == [secrets(1), secrets(2), None, secrets(1)]


async def test_a_deletion_reaches_redis_and_stays_in_the_history(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    assert await store.delete_credentials(user) is None
    assert await read(store) is None
    await store.save_credentials(user, *secrets(1))
    deleted = await store.delete_credentials(user, reason="revoked")
    assert deleted is not None
    assert (deleted.version, deleted.mirrored, deleted.is_deleted) == (2, True, True)
    assert not redis.exists(DATA)
    assert await read(store) is None
    assert [(v.version, v.is_deleted, v.change_reason) for v in await store.credentials_history(user)] == [
        (2, True, "revoked"),
        (1, False, None),
    ]
    assert (await store.save_credentials(user, *secrets(1))).version == 3
    assert await read(store) == (secrets(1), 3, "redis")


async def test_nobody_unknown_has_credentials(store: SettingsStore) -> None:
    for identifier, error in ((OTHER, UnknownUser), ("nobody", BadIdentifier)):
        with pytest.raises(error):
            await store.save_credentials(identifier, *secrets(1))
        with pytest.raises(error):
            await store.get_credentials(identifier)
        with pytest.raises(error):
            await store.delete_credentials(identifier)
        with pytest.raises(error):
            await store.credentials_history(identifier)


async def test_twenty_savers_at_once_lose_nothing(config: Config, user: str, db: Db, redis: Redis) -> None:
    async with other_store(config, KEY) as one, other_store(config, KEY) as two:
        saved = await asyncio.gather(
            *(store.save_credentials(user, *secrets(n)) for n, store in zip(range(20), [one, two] * 10, strict=True))
        )
        assert sorted(each.version for each in saved) == list(range(1, 21))
        found = versions(db, config, user)
        assert {each.version: n for n, each in enumerate(saved)} == {
            version: n for version, values in enumerate(found, 1) for n in range(20) if values == secrets(n)
        }
        await relay.drain(one.stores)
        assert await read(two) == (found[-1], 20, "redis")
    assert marks(db) == set()


async def test_of_twenty_who_expect_the_same_version_one_wins(store: SettingsStore, user: str, db: Db) -> None:
    await store.save_credentials(user, *secrets("first"))
    results = await asyncio.gather(
        *(store.save_credentials(user, *secrets(n), expected_version=1) for n in range(20)), return_exceptions=True
    )
    (winner,) = [n for n, result in enumerate(results) if not isinstance(result, BaseException)]
    assert sum(isinstance(result, VersionConflict) for result in results) == 19
    assert versions(db, store.config, user) == [secrets("first"), secrets(winner)]


# -- the mirror


async def test_an_older_version_never_comes_back(store: SettingsStore, user: str, db: Db) -> None:
    entries = []
    for n in (1, 2, 3):
        await store.save_credentials(user, *secrets(n))
        entries += [entry async for entry in entries_of(store)]
    for order in itertools.permutations(entries):
        await store.stores.mirror.apply(list(order))
        assert await read(store) == (secrets(3), 3, "redis")
    assert len(versions(db, store.config, user)) == 3


async def entries_of(store: SettingsStore) -> AsyncIterator[Any]:
    from store import calls
    from store.models import MirrorEntry

    for row in await store.stores.database.fetch(calls.mirror_state([OKX_UID], ["api_keys"])):
        yield MirrorEntry(**row)


async def test_what_psql_writes_reaches_redis_through_the_relay(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    db.execute("select save_api_credentials(%s, %s, %s, %s)", (user, *sealed(user, secrets(1)).values()))
    assert marks(db) == {(user, 1)}
    await relay.drain(store.stores)
    assert marks(db) == set()
    assert await read(store) == (secrets(1), 1, "redis")
    db.execute("select delete_api_credentials(%s)", (user,))
    await relay.drain(store.stores)
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
        db.execute("select mark_pending(%s, 'api_keys', 2)", (user,))

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
        report = await verify(store.stores)
        assert [(f.owner, f.kind, f.finding) for f in report.users] == [(user, "api_keys", expected)]
        assert (await verify(store.stores, repair=True)).remaining == 0, expected
        assert not (await verify(store.stores)).findings, expected
        found = await read(store)
        assert found is not None
        assert (found[0], found[2]) == (secrets(2), "redis"), expected
    await store.delete_credentials(user)
    put(redis, DATA, old)
    report = await verify(store.stores, repair=True)
    assert (report.findings, report.remaining) == (Counter(orphan=1), 0)
    assert not redis.exists(DATA)
    assert await read(store) is None


async def test_what_redis_holds_of_nobody_is_left_to_sync(store: SettingsStore, redis: Redis) -> None:
    rogue(redis, secrets(1), OTHER)
    report = await verify(store.stores, repair=True)
    assert (report.findings, report.repaired) == (Counter(unmarked=1), 0)
    assert redis.hget(HASH.format(OTHER), "api_key") == secrets(1)[0]


async def test_a_flushed_redis_is_filled_again(store: SettingsStore, user: str, redis: Redis) -> None:
    await store.save_credentials(user, *secrets(1))
    redis.flushall()
    await relay.Relay(store.stores).once()
    assert await read(store) == (secrets(1), 1, "redis")


# -- whose they are


async def test_credentials_copied_in_redis_are_nobody_elses(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    await store.register(OTHER)
    await store.save_credentials(user, *secrets("mine"))
    await store.save_credentials(OTHER, *secrets("theirs"))
    copy_hash(redis, HASH.format(OTHER), DATA)  # another user's
    assert await read(store) == (secrets("mine"), 1, "db")
    await verify(store.stores, repair=True)
    assert await read(store) == (secrets("mine"), 1, "redis")
    fields = redis.hgetall(DATA)
    put(redis, DATA, {"api_key": fields["api_secret"], "api_secret": fields["api_key"]})  # another field's
    assert await read(store) == (secrets("mine"), 1, "db")
    await verify(store.stores, repair=True)
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
        await verify(store.stores, repair=True)  # and so it gets into Redis
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
    assert (await verify(store.stores, repair=True)).remaining == 0
    found = await read(store)
    assert found is not None
    assert (found[0], found[2]) == (secrets(1), "redis")
    assert (await store.save_credentials(user, *secrets(2))).mirrored


# -- how Redis holds them


@pytest.mark.parametrize("mode", MODES)
async def test_the_modes(config: Config, user: str, db: Db, redis: Redis, mode: str) -> None:
    async with other_store(config, KEY, mode=mode) as store:
        saved = await store.save_credentials(user, *secrets(1))
        assert saved.mirrored
        assert await read(store) == (secrets(1), 1, "db" if mode == "off" else "redis")
        assert not (await verify(store.stores)).findings
        if mode == "plain":  # bare, as bots read it
            assert redis.hgetall(DATA) == dict(zip(FIELDS, secrets(1), strict=True))
        elif mode == "encrypted":
            assert opened(store.config, user, redis.hgetall(DATA)) == secrets(1)
        else:
            assert not redis.exists(DATA)
        assert is_plain_anywhere(db, redis) is (mode == "plain")
        await store.delete_credentials(user)
        assert not redis.exists(DATA)
        assert not (await verify(store.stores)).findings


@pytest.mark.parametrize("by", ["verify", "relay"])
@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(MODES, 2)))
async def test_every_switch_of_the_mode_converges_and_leaves_nothing_behind(
    config: Config, user: str, db: Db, redis: Redis, before: str, after: str, by: str
) -> None:
    async with other_store(config, KEY, mode=before) as store:
        await store.save_credentials(user, *secrets(1))
        await relay.Relay(store.stores).once()
    async with other_store(config, KEY, mode=after) as store:
        assert (await verify(store.stores)).findings.total() == 1
        if by == "verify":
            assert (await verify(store.stores, repair=True)).remaining == 0
        else:
            await relay.Relay(store.stores).once()
        assert not (await verify(store.stores)).findings
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
        progress = await relay.Relay(store.stores).once()
        assert set(progress.failures) == {(user, "api_keys")}
        assert await read(store, OTHER) == (secrets(2), 1, "redis")
        redis.hset(f"user:{OTHER}:dual_side", "use_dual_sl", "True")
        report = await verify(store.stores, repair=True)
        assert (report.findings["edited"], report.remaining) == (1, 1)
        assert {(f.owner, f.kind) for f in report.users} == {(OTHER, "dual_side"), (user, "api_keys")}


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
        assert (await verify(store.stores, repair=True)).remaining == 0
    else:
        redis.hset(MIRROR, "api_keys", "0")
        db.execute("select mark_pending(%s, 'api_keys', 1)", (user,))
        await relay.drain(store.stores)
    assert versions(db, store.config, user) == expected
    assert await read(store) == (expected[-1], len(expected), "redis")
    assert not is_plain_anywhere(db, redis)
    reasons = [version.change_reason for version in await store.credentials_history(user)]
    assert reasons[:2] == ["put back", "found in Redis, lost against PostgreSQL"]


async def test_without_a_key_foreign_plain_text_stays_until_somebody_has_one(
    config: Config, user: str, store: SettingsStore, db: Db, redis: Redis
) -> None:
    await store.save_credentials(user, *secrets(1))
    rogue(redis, secrets("found"))
    async with other_store(config) as keyless:
        assert (await verify(keyless.stores, repair=True)).remaining == 1
        assert redis.hget(DATA, "api_key") == secrets("found")[0]
    assert (await verify(store.stores, repair=True)).remaining == 0
    assert versions(db, config, user) == [secrets(1), secrets("found"), secrets(1)]


# -- sync


async def run_sync(
    store: SettingsStore, prefer: Prefer | None = None, dry_run: bool = False, okx_uid: str | None = None
) -> list[str]:
    """Sync; return the outcomes of keys of credentials."""
    told: list[Outcome] = []
    await Sync(store.stores, prefer=prefer, dry_run=dry_run, okx_uid=okx_uid, tell=told.append).run()
    found = [outcome for outcome in told if outcome.redis_key.endswith(":api:keys")]
    assert "plain-" not in repr(found)
    return [outcome.outcome for outcome in found]


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
    assert not (await verify(store.stores)).findings
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
    await store.stores.marks.clear()
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
    assert await read(store) == (expected[-1], len(expected), "redis")
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


# -- the keys


async def test_without_a_key_credentials_say_what_to_set_and_all_else_works(
    config: Config, user: str, db: Db, redis: Redis, tmp_path: Path
) -> None:
    async with other_store(config, KEY) as store:
        await store.save_credentials(user, *secrets(1))
    before = (redis.hgetall(DATA), versions(db, config, user))
    async with other_store(config) as store:
        for work in (store.save_credentials(user, *secrets(2)), store.get_credentials(user)):
            with pytest.raises(NoEncryptionKey) as error:
                await work
            assert "SETTINGS_STORE_KEYS" in str(error.value.hint)
        assert (await store.save(user, "params", {"leverage": 20})).mirrored
        assert await store.get(user, "params") is not None
        assert (await store.register(OTHER)).user.okx_uid == OTHER
        assert not (await verify(store.stores, repair=True)).findings
        told: list[Outcome] = []
        outcomes = await Sync(store.stores, tell=told.append).run()
        assert told == []
        assert set(outcomes) == {"ok"}
        redis.flushall()
        assert not (await relay.Relay(store.stores).once()).failures
        assert not (await verify(store.stores)).findings
        with (tmp_path / "backup.zip").open("wb") as file:
            await backup(store, file)
        assert (await restore_backup(store, tmp_path / "backup.zip", replace=True)).mirrored
        assert len(await store.credentials_history(user)) == 1
        assert (redis.hgetall(DATA), versions(db, config, user)) == before
        assert await store.delete_credentials(user) is not None  # needs no key


async def test_with_a_wrong_key_nothing_is_read_nor_lost(config: Config, user: str, db: Db, redis: Redis) -> None:
    async with other_store(config, KEY) as store:
        await store.save_credentials(user, *secrets(1))
    async with other_store(config, NEW_KEY) as store:
        with pytest.raises(WrongEncryptionKey) as error:
            await store.get_credentials(user)
        assert "Add that key" in str(error.value.hint)
        assert not (await verify(store.stores, repair=True)).findings
        assert (await store.save_credentials(user, *secrets(2))).version == 2
        assert await read(store) == (secrets(2), 2, "redis")
    assert versions(db, with_keys(config, KEY, NEW_KEY), user) == [secrets(1), secrets(2)]


async def test_without_credentials_anywhere_no_key_is_needed(config: Config, user: str) -> None:
    async with other_store(config) as store:
        assert await read(store) is None
        assert await store.delete_credentials(user) is None
        assert await store.credentials_history(user) == []


# -- users, backups


async def test_credentials_go_with_their_user_and_come_back(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    await store.save_credentials(user, *secrets(1))
    await store.delete_user(user)
    assert not redis.exists(DATA)
    with pytest.raises(UnknownUser):
        await store.get_credentials(user)
    await store.restore_user(user)
    assert await read(store) == (secrets(1), 3, "redis")
    assert versions(db, store.config, user) == [secrets(1), None, secrets(1)]


async def test_erasure_takes_credentials_from_both_stores(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    await store.save_credentials(user, *secrets(1))
    await store.save_credentials(user, *secrets(2))
    rogue(redis, secrets("found"))
    assert (await store.erase_user(user)).mirrored
    assert db.execute("table okx_api_info").fetchall() == []
    assert not redis.exists(DATA)
    assert not is_plain_anywhere(db, redis)
    assert await run_sync(store) == []
    with pytest.raises(UnknownUser):
        await store.credentials_history(user)


async def test_a_backup_holds_ciphertext_that_reads_after_a_restore(
    store: SettingsStore, user: str, db: Db, redis: Redis, tmp_path: Path
) -> None:
    for n in (1, 2):
        await store.save_credentials(user, *secrets(n))
    path = tmp_path / "backup.zip"
    with path.open("wb") as file:
        manifest = await backup(store, file)
    assert manifest.tables["okx_api_info"].rows == 2
    await store.save_credentials(user, *secrets(3))
    await store.stores.marks.clear()
    assert (await restore_backup(store, path, replace=True)).mirrored
    found = versions(db, store.config, user)
    assert found[:2] == [secrets(1), secrets(2)]
    assert found[-1] == secrets(2)
    assert secrets(3) in found  # what Redis had is not lost
    assert await read(store) == (secrets(2), len(found), "redis")
    assert not (await verify(store.stores)).findings


async def test_an_export_holds_no_credentials(store: SettingsStore, user: str) -> None:
    await store.save_credentials(user, *secrets(1))
    for with_secrets in (False, True):
        file = io.BytesIO()
        await export_users(store, file, with_secrets=with_secrets)
        text = file.getvalue().decode()
        assert json.loads(text)["users"]
        assert not any(word in text for word in ("api_key", "api_secret", "passphrase", "plain-"))


async def test_watchers_hear_of_credentials_without_content(store: SettingsStore, user: str, redis: Redis) -> None:
    with redis.pubsub() as subscription:  # type: ignore[no-untyped-call]
        subscription.subscribe(store.config.channel)
        await store.save_credentials(user, *secrets(1))
        messages: Sequence[Any] = [subscription.get_message(timeout=5) for _ in range(2)]
    assert json.loads(messages[1]["data"]) == {"okx_uid": user, "setting_type": "api_keys", "version": 1}


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
            await relay.drain(store.stores)
    assert marks(db) == {(user, 3)}
    async with SettingsStore(config) as store:
        await relay.drain(store.stores)
        assert await read(store) == (secrets(2), 3, "redis")
    assert marks(db) == set()
