"""Locked keys from Python, and what becomes of a rogue value that somebody puts into Redis for one."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis as redis_py

from store import InvalidArgument, SettingLocked, SettingsStore, UnknownUser
from store.coherence import relay
from store.coherence.sync import Outcome, Sync
from store.coherence.verify import verify
from store.files import backup
from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, fetch

OTHER = "1000000000000001"
KEY = f"user:{OKX_UID}:settings"
UNTIL = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
async def locked(store: SettingsStore, user: str) -> str:
    await store.patch(user, "params", {"leverage": 12})
    await store.lock_setting(user, "params", ["leverage"], reason="audit", until=UNTIL, actor="kim")
    return user


def rogue(redis: redis_py.Redis, uid: str = OKX_UID, **changes: object) -> None:
    key = f"user:{uid}:settings"
    redis.set(key, json.dumps({**json.loads(str(redis.get(key))), **changes}))


async def leverage(store: SettingsStore, source: str = "db") -> int:
    found = await store.get(OKX_UID, "params", source="db" if source == "db" else "redis")
    assert found is not None
    return int(found.settings["leverage"])


async def test_who_changes_a_locked_key_is_told_which_by_whom_and_until_when(store: SettingsStore, locked: str) -> None:
    with pytest.raises(SettingLocked) as error:
        await store.patch(locked, "params", {"leverage": 20, "use_sl": True})
    assert error.value.problems == {"leverage": "locked by kim until 2999-01-01 00:00:00 UTC: audit"}
    assert "leverage: locked by kim" in str(error.value)
    assert (await store.patch(locked, "params", {"use_sl": True})).version == 3
    (lock,) = await store.list_locks(locked, "params")
    assert (lock.key, lock.symbol, lock.until, lock.locked_by, lock.is_cold) == ("leverage", None, UNTIL, "kim", False)
    await store.lock_setting(None, "dual_side", reason="all")
    assert [(one.okx_uid, one.key) for one in await store.list_locks(locked)] == [(None, None), (locked, "leverage")]
    assert [one.key for one in await store.unlock_setting(locked, "params")] == ["leverage"]
    assert await store.unlock_setting(locked, "params") == []
    await store.patch(locked, "params", {"leverage": 20})
    with pytest.raises(InvalidArgument):
        await store.lock_setting(locked, "params", "leverage", reason="a text is no list")
    with pytest.raises(InvalidArgument):
        await store.lock_setting(locked, "params", reason="no zone", until=datetime(2999, 1, 1))
    with pytest.raises(UnknownUser):
        await store.lock_setting(OTHER, "params", reason="x")


async def test_a_bot_locks_its_cold_keys_while_it_runs(store: SettingsStore, user: str, db: Connection) -> None:
    fetch(db, "select from save_setting_field('params', 'leverage', 'integer', '10', 1, 125, p_is_hot => false)")
    assert [field.key for field in await store.fields("params") if not field.is_hot] == ["leverage"]
    for _ in range(2):
        (lock,) = await store.lock_cold_keys(user, "params", datetime.now(UTC) + timedelta(minutes=2))
        assert (lock.key, lock.is_cold) == ("leverage", True)
    with pytest.raises(SettingLocked):
        await store.patch(user, "params", {"leverage": 20})
    assert len(await store.unlock_cold_keys(user, "params")) == 1
    await store.patch(user, "params", {"leverage": 20})


async def test_sync_takes_no_locked_key_from_redis_and_others_all_the_same(
    store: SettingsStore, locked: str, redis: redis_py.Redis
) -> None:
    await store.register(OTHER)
    for dry_run in (True, False):
        rogue(redis, leverage=99)
        rogue(redis, OTHER, leverage=7)
        told: list[Outcome] = []
        await Sync(store._connections, prefer="redis", dry_run=dry_run, tell=told.append).run()
        outcomes = {outcome.redis_key: outcome for outcome in told}
        assert outcomes[KEY].outcome == "bad"
        assert "leverage: locked by kim" in (outcomes[KEY].problems or {})["$"]
        assert outcomes[f"user:{OTHER}:settings"].outcome == "edited"
    assert await leverage(store) == 12
    other = await store.get(OTHER, "params", source="db")
    assert other is not None
    assert other.settings["leverage"] == 7


async def test_verify_and_the_relay_put_the_locked_value_back_and_keep_what_they_found(
    store: SettingsStore, locked: str, redis: redis_py.Redis
) -> None:
    rogue(redis, leverage=99)
    found = await verify(store._connections, repair=True)
    assert (dict(found.findings), found.repaired, found.held, found.failures) == ({"edited": 1}, 1, {}, {})
    assert await leverage(store, "redis") == await leverage(store) == 12
    rogue(redis, leverage=98)
    await store.patch(locked, "params", {"use_sl": True})
    rogue(redis, leverage=97)
    await relay.reconcile(store._connections)
    await verify(store._connections, repair=True)
    assert await leverage(store, "redis") == await leverage(store) == 12
    kept = [
        await store.get_version(locked, "params", version.version)
        for version in await store.history(locked, "params")
        if version.change_reason == "found in Redis, lost against PostgreSQL"
    ]
    assert {one and one.settings["leverage"] for one in kept} == {99, 98, 97}


async def test_a_backup_brings_the_locks_of_operators_back_and_a_merge_is_held_by_them(
    store: SettingsStore, locked: str, tmp_path: Path, db: Connection
) -> None:
    fetch(db, "select from save_setting_field('params', 'use_sl', 'boolean', 'false', p_is_hot => false)")
    await store.lock_cold_keys(locked, "params", UNTIL)
    path, file = tmp_path / "backup.zip", io.BytesIO()
    await backup.backup(store, file)
    path.write_bytes(file.getvalue())
    await store.unlock_setting(locked, "params")
    await store.patch(locked, "params", {"leverage": 20})
    await store.lock_setting(locked, "params", ["leverage"], reason="merge")
    with pytest.raises(SettingLocked):
        await backup.restore_backup(store, path, merge=True)
    assert await leverage(store) == 20
    await backup.restore_backup(store, path, replace=True)
    assert await leverage(store) == 12
    assert [(lock.key, lock.reason) for lock in await store.list_locks()] == [("leverage", "audit")]
