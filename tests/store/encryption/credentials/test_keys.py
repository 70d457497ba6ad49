"""Credentials without an encryption key, and with a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import Config
from store.coherence import relay
from store.coherence.sync import Outcome, Sync
from store.coherence.verify import verify
from store.encryption.vault import NoEncryptionKey, WrongEncryptionKey
from store.files.backup import backup, restore_backup
from tests.helpers.credentials import KEY, NEW_KEY, OTHER, Db, Redis, secrets, versions, with_keys
from tests.store.encryption.credentials.conftest import DATA, other_store, read


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
        assert not (await verify(store._connections, repair=True)).findings
        told: list[Outcome] = []
        outcomes = await Sync(store._connections, tell=told.append).run()
        assert told == []
        assert set(outcomes) == {"ok"}
        redis.flushall()
        assert not (await relay.Relay(store._connections).once()).failures
        assert not (await verify(store._connections)).findings
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
        assert not (await verify(store._connections, repair=True)).findings
        assert (await store.save_credentials(user, *secrets(2))).version == 2
        assert await read(store) == (secrets(2), 2, "redis")
    assert versions(db, with_keys(config, KEY, NEW_KEY), user) == [secrets(1), secrets(2)]


async def test_without_credentials_anywhere_no_key_is_needed(config: Config, user: str) -> None:
    async with other_store(config) as store:
        assert await read(store) is None
        assert await store.delete_credentials(user) is None
        assert await store.credentials_history(user) == []
