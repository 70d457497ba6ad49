"""A restore where there is something: replaced, or merged as new versions, all users or one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store import InvalidSettings, SettingsStore, UnknownUser
from store.coherence import relay
from store.errors import BadIdentifier
from store.files import backup
from store.files.backup import restore_backup
from store.postgres.call import Call
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.backups import DELETED_UID, OTHER_UID, Db, back_up, content, table_rows
from tests.store.files.backup.conftest import assert_clean, leverage


def history(db: Db, setting_type: str = "params", okx_uid: str = OKX_UID) -> list[tuple[Any, ...]]:
    query = "select version, is_active, change_reason from user_settings where okx_uid = %s and setting_type = %s"
    return table_rows(db, f"{query} order by version", okx_uid, setting_type)


async def test_replacing_throws_away_what_is_there(small: Path, store: SettingsStore, db: Db) -> None:
    before = content(db)
    await store.register(OTHER_UID, "22222")
    await store._connections.marks.clear()
    await restore_backup(store, small, replace=True)
    assert content(db) == before
    assert await store.find_user(OTHER_UID) is None


async def test_merging_makes_new_versions_only_where_something_differs(
    small: Path, store: SettingsStore, db: Db
) -> None:
    await store.register(OTHER_UID)
    unchanged = content(db)
    restored = await restore_backup(store, small, merge=True)
    assert (restored.users, restored.versions) == (1, 0)
    assert content(db) == unchanged

    was = await leverage(store)
    await store.patch(OKX_UID, "params", {"leverage": 77})
    await store.delete(OKX_UID, "dual_side")
    assert (await restore_backup(store, small, merge=True)).versions == 2
    assert await leverage(store) == was
    for kind in ("params", "dual_side"):
        (_, _, first), (_, _, second), (version, is_active, reason) = history(db, kind)
        assert (first, second, version, is_active) == (None, None, 3, True)
        assert reason.startswith("from the backup of 20")
    assert len(history(db, "preferences")) == 1
    assert len(history(db, "params", OTHER_UID)) == 1
    await assert_clean(store)


async def test_a_reason_given_is_kept_with_the_versions(small: Path, store: SettingsStore, db: Db) -> None:
    await store.patch(OKX_UID, "params", {"leverage": 77})
    async with store.acting_as("ops", reason="asked for it"):
        await restore_backup(store, small, okx_uid=OKX_UID)
    query = "select changed_by, change_reason from user_settings where version = 3"
    assert table_rows(db, query) == [("ops", "asked for it")]


async def test_one_user_alone_comes_back(populated: Path, store: SettingsStore, db: Db) -> None:
    for uid in (OKX_UID, OTHER_UID):
        await store.patch(uid, "params", {"leverage": 77})
    restored = await restore_backup(store, populated, okx_uid=OKX_UID)
    assert (restored.users, await leverage(store), await leverage(store, OTHER_UID)) == (1, 3, 77)
    await assert_clean(store)


async def test_a_user_deleted_since_comes_back_with_link_and_settings(
    small: Path, store: SettingsStore, db: Db
) -> None:
    await store.delete_user(OKX_UID)
    await restore_backup(store, small, okx_uid=OKX_UID)
    user = await store.find_user(TELEGRAM_ID)
    assert user is not None
    assert (user.okx_uid, user.name) == (OKX_UID, "Kim")
    assert len(await store.get_all(OKX_UID)) == 3
    assert [version for version, _, _ in history(db)] == [1, 2, 3]
    await assert_clean(store)


async def test_a_telegram_id_that_is_somebody_elses_by_now_stays_theirs(small: Path, store: SettingsStore) -> None:
    await store.delete_user(OKX_UID)
    await store.register(OTHER_UID, TELEGRAM_ID)
    await restore_backup(store, small, merge=True)
    owner, back = await store.find_user(TELEGRAM_ID), await store.find_user(OKX_UID)
    assert owner is not None
    assert back is not None
    assert (owner.okx_uid, back.telegram_id) == (OTHER_UID, None)
    assert await leverage(store) is not None
    await assert_clean(store)


async def test_a_user_whom_the_backup_does_not_have_is_named(populated: Path, store: SettingsStore, db: Db) -> None:
    before = content(db)
    for uid in ("999999999999999999", DELETED_UID):
        with pytest.raises(UnknownUser, match=uid):
            await restore_backup(store, populated, okx_uid=uid)
    for bad in ("", "' or true --", "１" * 18, OKX_UID + "\n"):
        with pytest.raises(BadIdentifier):
            await restore_backup(store, populated, okx_uid=bad)
    assert content(db) == before


@pytest.mark.parametrize("page", [1, 2, 3, 500])
async def test_pages_miss_nobody(
    store: SettingsStore, db: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    db.execute("select register_user((1000000000000000 + n)::text) from generate_series(1, 6) n")
    await back_up(store, tmp_path / "b.zip")
    db.execute("update user_settings set settings = settings || '{\"?new\": 1}' where is_active")
    monkeypatch.setattr(backup, "PAGE", page)
    restored = await restore_backup(store, tmp_path / "b.zip", merge=True)
    assert (restored.users, restored.versions) == (6, 18)
    query = "select count(*) from user_settings where is_active and version = 3 and not settings ? '?new'"
    assert table_rows(db, query) == [(18,)]


@pytest.mark.slow
async def test_two_thousand_users_are_merged(store: SettingsStore, db: Db, tmp_path: Path) -> None:
    db.execute("select register_user((1000000000000000 + n)::text) from generate_series(1, 2000) n")
    await relay.drain(store._connections)
    await back_up(store, tmp_path / "b.zip")
    db.execute("select upsert_user_setting(okx_uid, 'preferences', '{}') from app_users where okx_uid like '%7'")
    restored = await restore_backup(store, tmp_path / "b.zip", merge=True)
    assert (restored.users, restored.versions, restored.mirrored) == (2000, 200, True)
    assert table_rows(db, "select count(*) from user_settings where version = 3") == [(200,)]


async def test_settings_that_are_not_valid_any_more_undo_the_whole_merge(
    populated: Path, store: SettingsStore, db: Db
) -> None:
    await store.patch(OKX_UID, "params", {"leverage": 5})
    await store.patch(OTHER_UID, "params", {"leverage": 5})
    db.execute("update setting_fields set maximum = 2 where key = 'leverage'")
    before = content(db)
    with pytest.raises(InvalidSettings) as error:
        await restore_backup(store, populated, merge=True)
    assert set(error.value.problems) == {"leverage"}
    assert content(db) == before


async def test_a_merge_looks_up_each_user_of_the_backup_by_index(store: SettingsStore) -> None:
    users = "select (2000000000000000 + n)::text as okx_uid from generate_series(1, 4000) n"
    async with store._connections.database.transaction() as transaction:
        for name in ("app_users", "user_settings"):
            await transaction.fetch(backup._make_temporary(name))
        await transaction.fetch(Call(f"insert into restored_app_users (okx_uid) {users}", {}))
        rows = f"select gen_random_uuid(), u.okx_uid, 'params', '{{}}' from ({users}) u"
        columns = "(user_id, okx_uid, setting_type, settings)"
        await transaction.fetch(Call(f"insert into restored_user_settings {columns} {rows}", {}))
        for name in ("app_users", "user_settings"):
            await transaction.fetch(backup._index(name))
        page = backup._restored_users(None, "2000000000003990", 5)
        plan = await transaction.fetch(Call(f"explain {page.query}", page.params))
        found = await transaction.fetch(page)
    assert not [row for row in plan if "Seq Scan on restored_user_settings" in row["QUERY PLAN"]], plan
    assert [row["okx_uid"] for row in found] == [str(2_000_000_000_003_990 + n) for n in range(1, 6)]
