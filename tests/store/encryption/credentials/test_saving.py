"""Credentials saved, read and deleted: they come back exactly, as versions, and in neither store as plain text."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from store import Config, InvalidArgument, SettingsStore, UnknownUser, VersionConflict
from store.coherence import relay
from store.encryption.fields import FIELDS
from store.errors import BadIdentifier
from tests.conftest import TELEGRAM_ID
from tests.helpers.credentials import KEY, OTHER, Db, Redis, is_plain_anywhere, sealed, secrets, versions
from tests.store.encryption.credentials.conftest import DATA, marks, other_store, read


async def test_what_was_saved_comes_back_from_redis_and_without_it_from_postgresql(
    store: SettingsStore, user: str, redis: Redis
) -> None:
    saved = await store.save_credentials(user, *secrets(1), actor="ops", reason="first")
    assert (saved.okx_uid, saved.version, saved.mirrored, saved.is_deleted) == (user, 1, True, False)
    assert await read(store) == (secrets(1), 1, "redis")
    assert await read(store, TELEGRAM_ID) == (secrets(1), 1, "db")
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
        await relay.drain(one._connections)
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
