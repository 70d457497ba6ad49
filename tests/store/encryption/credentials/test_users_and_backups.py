"""Credentials when users are deleted or erased, in backups, in exports and for watchers."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from store import SettingsStore, UnknownUser
from store.coherence.verify import verify
from store.encryption.rotation import rotate
from store.files.backup import backup, restore_backup
from store.files.export import export_users
from tests.helpers.credentials import Db, Redis, is_plain_anywhere, secrets, versions
from tests.store.encryption.credentials.conftest import DATA, read, rogue, run_sync


async def test_credentials_go_with_their_user_and_come_back(
    store: SettingsStore, user: str, db: Db, redis: Redis
) -> None:
    await store.save_credentials(user, *secrets(1))
    await store.delete_user(user)
    assert not redis.exists(DATA)
    with pytest.raises(UnknownUser):
        await store.get_credentials(user)
    await store.restore_user(user)
    assert await read(store) == (secrets(1), 3, "db")  # sealed as version 1
    assert (await rotate(store)).changed == 1
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
    await store._connections.marks.clear()
    assert (await restore_backup(store, path, replace=True)).mirrored
    found = versions(db, store.config, user)
    assert found[:2] == [secrets(1), secrets(2)]
    assert found[-1] == secrets(2)
    assert secrets(3) in found  # what Redis had is not lost
    assert await read(store) == (secrets(2), len(found), "db")
    assert not (await verify(store._connections)).findings


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
        subscription.subscribe(store.config.mirror_channel)
        await store.save_credentials(user, *secrets(1))
        messages: Sequence[Any] = [subscription.get_message(timeout=5) for _ in range(2)]
    assert json.loads(messages[1]["data"]) == {"okx_uid": user, "setting_type": "api_keys", "version": 1}
