"""Redis after a restore: it follows PostgreSQL, and what it had newer is in the history."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
import redis as redis_py

from store import Config, SettingsStore
from store.coherence import relay
from store.coherence.relay import Relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.files.backup import restore_backup
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually
from tests.helpers.backups import DELETED_UID, OTHER_UID, Db, back_up, on, table_rows
from tests.store.files.backup.conftest import assert_clean, leverage

PARAMS = f"user:{OKX_UID}:settings"


async def test_what_redis_had_newer_goes_into_the_history_and_redis_follows(
    small: Path, store: SettingsStore, db: Db, redis: redis_py.Redis
) -> None:
    was = await leverage(store)
    await store.patch(OKX_UID, "params", {"leverage": 77})
    restored = await restore_backup(store, small, replace=True)
    assert restored.mirrored
    await assert_clean(store)
    assert await leverage(store) == json.loads(str(redis.get(PARAMS)))["leverage"] == was
    query = "select settings ->> %s from user_settings where setting_type = %s and not is_active order by version"
    assert ("77",) in table_rows(db, query, "leverage", "params")


async def test_another_document_of_the_same_version_goes_into_the_history(
    small: Path, store: SettingsStore, db: Db, redis: redis_py.Redis, other: SettingsStore
) -> None:
    was = await leverage(store)
    redis.flushall()
    await other.register(OKX_UID, TELEGRAM_ID, documents={"params": {"leverage": 77}})
    await restore_backup(store, small, replace=True)
    assert json.loads(str(redis.get(PARAMS)))["leverage"] == await leverage(store) == was
    query = "select settings ->> 'leverage' from user_settings where setting_type = 'params' order by version"
    assert table_rows(db, query) == [(str(was),), ("77",), (str(was),)]
    await assert_clean(store)


async def test_keys_of_users_whom_the_backup_does_not_know_stay_for_sync(
    small: Path, store: SettingsStore, redis: redis_py.Redis
) -> None:
    await store.register(OTHER_UID, "22222")
    redis.set(f"user:{DELETED_UID}:settings", '{"leverage": 6}')
    await restore_backup(store, small, replace=True)
    assert (await verify(store._connections)).findings == {"orphan": 4, "unmarked": 1}
    await verify(store._connections, repair=True)
    assert redis.exists(f"user:{OTHER_UID}:settings", f"user:{DELETED_UID}:settings", "user:22222:okx_uid") == 3
    await Sync(store._connections).run()
    found = await store.find_user("22222")
    assert found is not None
    assert (found.okx_uid, await leverage(store, DELETED_UID)) == (OTHER_UID, 6)
    await assert_clean(store)


async def test_a_link_that_the_backup_has_otherwise_is_put_back_in_redis(
    small: Path, store: SettingsStore, redis: redis_py.Redis
) -> None:
    await store.unlink(OKX_UID)
    await store.register(OTHER_UID, TELEGRAM_ID)
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OTHER_UID
    await restore_backup(store, small, replace=True)
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OKX_UID


async def test_a_mark_of_the_restore_outlives_who_mirrored_a_newer_version_before(
    small: Path, store: SettingsStore, config: Config, redis: redis_py.Redis
) -> None:
    await store.patch(OKX_UID, "params", {"leverage": 77})  # its mark is cleared a moment later
    async with SettingsStore(replace(config, redis_url="redis://127.0.0.1:1")) as restoring:
        assert not (await restore_backup(restoring, small, replace=True)).mirrored
    await store._connections.marks.clear()
    await relay.drain(store._connections)
    await assert_clean(store)
    assert json.loads(str(redis.get(PARAMS)))["leverage"] == await leverage(store) != 77


async def test_a_link_of_the_same_version_to_another_user_is_put_right(
    store: SettingsStore, config: Config, other: SettingsStore, redis: redis_py.Redis, tmp_path: Path
) -> None:
    await other.register(OTHER_UID, TELEGRAM_ID)  # another history of the same Telegram ID
    await back_up(other, tmp_path / "b.zip")
    await store.register(OKX_UID, TELEGRAM_ID)
    redis.set(f"user:{TELEGRAM_ID}:okx_uid", OKX_UID)
    assert (await restore_backup(store, tmp_path / "b.zip", replace=True)).mirrored
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OTHER_UID
    assert (await store.get(TELEGRAM_ID, "params") or pytest.fail("none")).okx_uid == OTHER_UID


async def test_who_was_erased_but_is_still_in_redis_goes_from_there_all_the_same(
    store: SettingsStore, config: Config, redis: redis_py.Redis, tmp_path: Path, db: Db
) -> None:
    await store.register(OTHER_UID)
    await back_up(store, tmp_path / "b.zip")
    await store.register(OKX_UID)
    db.execute("select from erase_user(%s)", (OKX_UID,))
    assert redis.exists(PARAMS)
    restored = await restore_backup(store, tmp_path / "b.zip", replace=True)
    assert (restored.users, restored.mirrored, restored.unknown) == (1, True, 0)
    assert not redis.exists(PARAMS)
    assert dict(await Sync(store._connections).run()).keys() == {"ok"}


async def test_an_emptied_redis_is_filled(small: Path, store: SettingsStore, redis: redis_py.Redis) -> None:
    redis.flushall()
    assert (await restore_backup(store, small, replace=True)).mirrored
    await assert_clean(store)
    assert redis.exists(PARAMS)


async def test_a_relay_that_runs_meanwhile_does_no_harm(
    small: Path, store: SettingsStore, config: Config, db: Db, redis: redis_py.Redis
) -> None:
    was = await leverage(store)
    async with on(config, str(config.database_url)) as relaying:
        running = Relay(relaying._connections, poll=0.001)
        task = asyncio.create_task(running.run())

        async def is_mirrored() -> bool:
            return not table_rows(db, "select from mirror_pending")

        for value in range(20, 25):
            await store.patch(OKX_UID, "params", {"leverage": value})
            await store._connections.marks.clear()
            await eventually(is_mirrored)
            await restore_backup(store, small, replace=True)
            await eventually(is_mirrored)
            assert json.loads(str(redis.get(PARAMS)))["leverage"] == was
        running.stopping.set()
        await task
    await assert_clean(store)


@pytest.mark.parametrize("is_in_backup", [True, False])
async def test_a_restore_forgets_nobody_who_was_erased_and_is_in_redis_still(
    store: SettingsStore, db: Db, redis: redis_py.Redis, tmp_path: Path, is_in_backup: bool
) -> None:
    await store.register(OKX_UID if is_in_backup else OTHER_UID)
    path = tmp_path / "backup.zip"
    await back_up(store, path)
    await store.register(OKX_UID, TELEGRAM_ID)
    await store.patch(OKX_UID, "params", {"after the backup": 1})
    await store._connections.marks.clear()
    db.execute("select from erase_user(%s)", (OKX_UID,))  # no relay runs
    await restore_backup(store, path, replace=True)
    await Sync(store._connections).run()
    assert db.execute("select from user_settings where okx_uid = %s", (OKX_UID,)).fetchall() == []
    assert redis.get(PARAMS) is None or "after the backup" not in str(redis.get(PARAMS))
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") is None
    assert (await verify(store._connections)).remaining == 0
    assert db.execute("select from mirror_pending").fetchall() == []
