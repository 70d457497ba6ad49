"""Whole backups that are refused all the same: of a newer release, with rows that break a rule, in a wrong place."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from store import Config, SettingsStore, StoreError
from store.errors import NotEmpty, NotMigrated
from store.files import backup
from store.files.backup import BadBackup, check_backup, restore_backup
from tests.conftest import OKX_UID
from tests.helpers.backups import Db, content, craft, manifest_of, member, on, table_rows
from tests.store.files.backup.conftest import assert_clean


async def test_a_newer_backup_is_refused_by_name(small: Path, tmp_path: Path, store: SettingsStore) -> None:
    manifest = manifest_of(small)
    crafted = craft(tmp_path / "b.zip", small, manifest | {"version": 2})
    with pytest.raises(BadBackup, match="newer release"):
        await restore_backup(store, crafted, replace=True)
    crafted = craft(tmp_path / "b.zip", small, manifest | {"migrations": [*manifest["migrations"], "9999_later"]})
    with pytest.raises(BadBackup, match=r"newer release.*9999_later"):
        await restore_backup(store, crafted, replace=True)


@pytest.mark.parametrize("how", [{"replace": True}, {"merge": True}, {"okx_uid": OKX_UID}])
@pytest.mark.parametrize("column", ["id) from program 'touch {}' --", 'id"', "", "nothing", "ctid", "a" * 5000, "\0"])
async def test_a_column_that_is_sql_is_refused_not_run(
    small: Path, tmp_path: Path, store: SettingsStore, db: Db, column: str, how: dict[str, Any]
) -> None:
    before, manifest = content(db), manifest_of(small)
    manifest["tables"]["app_users"]["columns"][0] = column.format(tmp_path / "ran")
    with pytest.raises(BadBackup, match="columns"):
        await restore_backup(store, craft(tmp_path / "b.zip", small, manifest), **how)
    assert content(db) == before
    assert not (tmp_path / "ran").exists()


async def test_tables_other_than_ours_are_refused(small: Path, tmp_path: Path) -> None:
    for change in ({"pg_authid": {"columns": [], "rows": 0, "sha256": ""}}, {}):
        manifest = manifest_of(small)
        manifest["tables"] |= change
        if not change:
            del manifest["tables"]["setting_templates"]
        with pytest.raises(BadBackup):
            check_backup(craft(tmp_path / "b.zip", small, manifest))


def line(path: Path, name: str, **changes: str) -> bytes:
    """The first row of a table of a backup, with other values."""
    columns = manifest_of(path)["tables"][name]["columns"]
    values = dict(zip(columns, member(path, name).splitlines()[0].decode().split("\t"), strict=True))
    return ("\t".join((values | changes).values()) + "\n").encode()


async def test_rows_that_break_a_rule_undo_the_whole_restore(
    populated: Path, tmp_path: Path, store: SettingsStore, db: Db
) -> None:
    await store.register("900000000000000009")
    await store._connections.marks.clear()
    before, manifest = content(db), manifest_of(populated)
    settings_, users = member(populated, "user_settings"), member(populated, "app_users")
    for name, data in {
        "a user twice": ("app_users", users + users.splitlines(keepends=True)[0]),
        "a bad UID": ("app_users", line(populated, "app_users", okx_uid="1")),
        "settings of nobody": ("app_users", b""),
        "a version twice": ("user_settings", settings_ + line(populated, "user_settings", id=OKX_UID * 2)),
        "no object": ("user_settings", line(populated, "user_settings", settings="[]")),
        "no JSON": ("user_settings", line(populated, "user_settings", settings="{{")),
        "version 0": ("user_settings", line(populated, "user_settings", version="0")),
        "no row": ("user_settings", b"hello\n"),
        "no text": ("user_settings", b"\xff\xfe\n"),
        "a null": ("user_settings", line(populated, "user_settings", settings="\\N")),
    }.items():
        crafted = craft(tmp_path / "b.zip", populated, manifest, dict([data]))
        with pytest.raises(StoreError) as error:
            await restore_backup(store, crafted, replace=True)
        assert "Traceback" not in str(error.value), name
        assert content(db) == before, name
    for columns in ([], ["id"], ["id", "id"]):
        manifest["tables"]["app_users"]["columns"] = columns
        with pytest.raises(StoreError):
            await restore_backup(store, craft(tmp_path / "b.zip", populated, manifest), replace=True)
        assert content(db) == before
    enabled = "select distinct tgenabled::text from pg_trigger where tgrelid::regclass::text = any (%s)"
    assert table_rows(db, enabled, list(backup.TABLES)) == [("O",)]
    assert (await store.patch(OKX_UID, "params", {"leverage": 9})).version == 4
    await assert_clean(store)


async def test_a_database_that_is_not_empty_stays_as_it_is(populated: Path, other: SettingsStore, other_db: Db) -> None:
    for fill in (
        "insert into app_users (okx_uid) values ('900000000000000009')",
        "select save_setting_template('mine', 'params', '{}')",
    ):
        with other_db.transaction(force_rollback=True):
            other_db.execute(fill.encode())
            with pytest.raises(psycopg.Error) as refused:
                other_db.execute("select begin_restore()")
            assert refused.value.sqlstate == "US011"
    await other.register("900000000000000009")
    before = content(other_db)
    with pytest.raises(NotEmpty, match=r"settings, users"):
        await restore_backup(other, populated)
    assert content(other_db) == before


async def test_a_database_that_is_not_migrated_is_told_so(small: Path, config: Config, empty_database_url: str) -> None:
    async with on(config, empty_database_url) as empty:
        with pytest.raises(NotMigrated):
            await restore_backup(empty, small)
        with pytest.raises(NotMigrated):
            await backup.backup(empty, io.BytesIO())


async def test_a_role_without_rights_is_refused_and_writes_nothing(
    small: Path, config: Config, db: Db, store: SettingsStore
) -> None:
    before = content(db)
    db.execute("create role nobody_much login")
    try:
        async with on(config, make_conninfo(str(config.database_url), user="nobody_much")) as poor:
            for attempt in (backup.backup(poor, io.BytesIO()), restore_backup(poor, small, replace=True)):
                with pytest.raises(StoreError, match="permission denied"):
                    await attempt
    finally:
        db.execute("drop role nobody_much")
    assert content(db) == before
