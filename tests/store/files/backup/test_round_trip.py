"""Backup and restore into another database: every row comes back, of one moment, whoever writes meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis as redis_py
from psycopg.conninfo import make_conninfo

from store import Config, SettingsStore
from store.coherence.relay import Relay
from store.files import backup
from store.files.backup import BadBackup, restore_backup
from tests.conftest import OKX_UID
from tests.faults.servers import eventually
from tests.helpers.backups import HOSTILE, Db, back_up, content, craft, manifest_of, on, table_rows
from tests.migrations.dump import dump
from tests.store.files.backup.conftest import assert_clean, leverage


async def test_every_row_comes_back_as_it_was(
    populated: Path, db: Db, redis: redis_py.Redis, other: SettingsStore, other_db: Db, other_database_url: str
) -> None:
    redis.flushall()
    schema = dump(other_database_url)
    restored = await restore_backup(other, populated)
    assert content(other_db) == content(db)
    assert all(content(db)[name] for name in backup.TABLES if name != "okx_api_info")
    versions = content(db)["user_settings"]
    assert (restored.users, restored.versions, restored.mirrored) == (3, len(versions), True)
    await assert_clean(other)
    assert dump(other_database_url) == schema
    triggers = "select distinct tgenabled::text from pg_trigger where tgrelid::regclass::text = any (%s)"
    assert table_rows(other_db, triggers, list(backup.TABLES)) == [("O",)]

    before = await other.get(OKX_UID, "params", source="db")
    assert before is not None
    assert (await other.patch(OKX_UID, "params", {"leverage": 30})).version == before.version + 1
    extra = await other.get(OKX_UID, "extra")
    assert extra is not None
    assert extra.settings == HOSTILE
    await assert_clean(other)


async def test_a_backup_of_a_release_that_noted_no_logins_is_restored(
    populated: Path, tmp_path: Path, other: SettingsStore, other_db: Db
) -> None:
    manifest, members = manifest_of(populated), {}
    with zipfile.ZipFile(populated) as file:
        for name in ("user_settings", "okx_api_info", "setting_templates"):
            columns = manifest["tables"][name]["columns"]
            at = columns.index("written_by")
            rows = [line.split(b"\t") for line in file.read(name).splitlines()]
            members[name] = b"".join(b"\t".join(row[:at] + row[at + 1 :]) + b"\n" for row in rows)
            columns.remove("written_by")
    restored = await restore_backup(other, craft(tmp_path / "old.zip", populated, manifest, members))
    assert restored.versions == len(members["user_settings"].splitlines()) > 0
    assert table_rows(other_db, "select count(*) from user_settings where written_by is not null") == [(0,)]
    assert {version.written_by for version in await other.history(OKX_UID)} == {None}


async def test_making_and_restoring_a_backup_tell_of_each_row(
    populated: Path, other: SettingsStore, tmp_path: Path
) -> None:
    told: list[int] = []
    rows = sum(table.rows for table in backup.check_backup(populated).tables.values())
    await restore_backup(other, populated, progress=told.append)
    assert sum(told) == rows
    told.clear()
    with open(tmp_path / "again.zip", "wb") as file:
        await backup.backup(other, file, told.append)
    assert sum(told) == rows


def test_a_backup_has_every_table_that_holds_data(db: Db) -> None:
    query = "select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    tables = {name for (name,) in table_rows(db, query) if "yoyo" not in name}
    candles = {name for name in tables if name.startswith("ohlcv_")} | {"timeframes"}  # the exchange has them
    of_the_server = {
        "schema_objects",
        "schema_parts",
        "mirror_pending",
        "trigger_permits",
        "hypertable_settings",
        "mirror_verifications",
        "mirror_epochs",
        "change_feed",
        "halts_version",
        *("erasure_gate", "erased_people", "erasure_keys"),
    }
    assert tables - candles - of_the_server == set(backup.TABLES)


async def test_restoring_over_what_is_there_again_and_again_changes_nothing(
    populated: Path, store: SettingsStore, db: Db
) -> None:
    before = content(db)
    for _ in range(2):
        await restore_backup(store, populated, replace=True)
        assert content(db) == before
    await assert_clean(store)


async def test_an_empty_database_is_a_backup_too(
    store: SettingsStore, db: Db, tmp_path: Path, other: SettingsStore, other_db: Db
) -> None:
    await back_up(store, tmp_path / "empty.zip")
    restored = await restore_backup(other, tmp_path / "empty.zip")
    assert (restored.users, restored.versions) == (0, 0)
    assert content(other_db) == content(db)


async def test_a_backup_is_of_one_moment_whatever_is_written_meanwhile(
    store: SettingsStore, user: str, db: Db, tmp_path: Path, redis: redis_py.Redis, other: SettingsStore, other_db: Db
) -> None:
    before = content(db)
    written: list[str] = []

    def write(_: int) -> None:
        """Come in between two tables, in a transaction of its own."""
        uid = f"2000000000000000{len(written):02}"
        db.execute("select register_user(%s)", (uid,))
        db.execute('select save_user_settings(%s, \'{"params": {"leverage": 3}}\')', (user,))
        db.execute("select save_setting_template(%s, 'params', '{}')", (f"t{uid}",))
        written.append(uid)

    with (tmp_path / "b.zip").open("wb") as file:
        await backup.backup(store, file, write)
    assert len(written) >= 4
    redis.flushall()
    await restore_backup(other, tmp_path / "b.zip")
    assert content(other_db) == before != content(db)


async def test_version_chains_are_whole_while_several_writers_write(
    store: SettingsStore, db: Db, tmp_path: Path, redis: redis_py.Redis, other: SettingsStore, other_db: Db
) -> None:
    uids = [f"30000000000000000{n}" for n in range(3)]
    for uid in uids:
        await store.register(uid)
    stopping, saves = asyncio.Event(), 0

    async def write(uid: str) -> None:
        nonlocal saves
        n = 0
        while not stopping.is_set():
            n += 1
            await store.save_all(uid, {"params": {"?n": n}, "preferences": {"?n": n}})
            saves += 1

    async def enough(than: int) -> None:
        async def has_saved() -> bool:
            return saves > than

        await eventually(has_saved)

    writers = [asyncio.create_task(write(uid)) for uid in uids]
    for n in range(3):
        await enough(saves + 5)
        await back_up(store, tmp_path / f"{n}.zip")
    stopping.set()
    await asyncio.gather(*writers)
    redis.flushall()
    for n in range(3):
        await restore_backup(other, tmp_path / f"{n}.zip", replace=True)
        chains = table_rows(
            other_db,
            "select count(*), min(version), max(version), max(version) filter (where is_active) as newest,"
            " count(*) filter (where is_active) as active from user_settings group by okx_uid, setting_type",
        )
        assert len(chains) == 9
        assert all((low, high, newest, active) == (1, count, count, 1) for count, low, high, newest, active in chains)
        together = table_rows(
            other_db,
            "select count(distinct (version, settings)) from user_settings"
            " where setting_type <> 'dual_side' and is_active group by okx_uid",
        )
        assert together == [(1,)] * 3
        redis.flushall()


async def test_text_and_times_do_not_depend_on_how_either_session_is_set_up(
    store: SettingsStore, db: Db, config: Config, tmp_path: Path, redis: redis_py.Redis,
    other_database_url: str, other_db: Db,
) -> None:  # fmt: skip
    await store.register(OKX_UID, name="강민")
    await store.save(OKX_UID, "params", {"?text": "롱숏"})
    day_first = make_conninfo(str(config.database_url), options="-c datestyle=SQL,DMY", client_encoding="LATIN1")
    async with on(config, day_first) as unusual:
        await back_up(unusual, tmp_path / "b.zip")
    redis.flushall()
    korean = make_conninfo(
        other_database_url, options="-c datestyle=ISO,MDY -c timezone=Asia/Seoul", client_encoding="EUC_KR"
    )
    async with on(config, korean) as unusual:
        await restore_backup(unusual, tmp_path / "b.zip")
    assert content(other_db) == content(db)


async def test_a_backup_made_before_there_were_trades_rules_and_descriptions_comes_back(
    populated: Path, tmp_path: Path, other: SettingsStore, other_db: Db
) -> None:
    manifest = manifest_of(populated)
    tables = {name: table for name, table in manifest["tables"].items() if name not in backup.SINCE}
    with zipfile.ZipFile(populated) as full:
        fields = b"".join(
            b"\t".join(line.split(b"\t")[:-3]) + b"\n" for line in full.read("setting_fields").splitlines()
        )
        tables["setting_fields"] |= {"columns": tables["setting_fields"]["columns"][:-3],
                                     "sha256": hashlib.sha256(fields).hexdigest()}  # fmt: skip
        for migrations in (manifest["migrations"], manifest["migrations"][:7]):
            with zipfile.ZipFile(tmp_path / f"{len(migrations)}.zip", "w") as made:
                for name in tables:
                    made.writestr(name, fields if name == "setting_fields" else full.read(name))
                made.writestr(backup.MANIFEST, json.dumps(manifest | {"tables": tables, "migrations": migrations}))
    with pytest.raises(BadBackup):  # of today, and the trades are missing
        await restore_backup(other, tmp_path / f"{len(manifest['migrations'])}.zip")
    assert (await restore_backup(other, tmp_path / "7.zip")).users == 3
    assert [name for name in backup.SINCE if content(other_db)[name]] == []
    described = "select key from setting_fields where description > '' and description_ko > ''"
    shipped = "select key from setting_fields where setting_type <> 'extra'"
    assert set(table_rows(other_db, described)) == set(table_rows(other_db, shipped))


async def test_what_was_to_come_when_the_backup_was_made_comes_after_the_restore(
    store: SettingsStore, user: str, tmp_path: Path, other: SettingsStore, other_db: Db
) -> None:
    at = datetime(2099, 1, 1, tzinfo=UTC)
    late = await store.schedule_change(user, "params", {"leverage": 3}, at=at)
    expired = await store.schedule_change(user, "params", {"leverage": 4}, at=at, not_after=at)
    await back_up(store, tmp_path / "b.zip")
    await restore_backup(other, tmp_path / "b.zip")
    later = await other.schedule_change(user, "params", {"n": 1}, at=at)
    assert later.id > max(late.id, expired.id)  # the history names them by number
    for table in ("scheduled_changes", "scheduled_change_users"):  # years later
        other_db.execute(f"update {table} set due_at = now()")
    other_db.execute(
        "update scheduled_changes set not_after = now() - interval '1 minute' where id = %s", (expired.id,)
    )
    await Relay(other._connections).once()
    assert {one.id: one.state for one in await other.list_scheduled_changes()} == {
        late.id: "done", expired.id: "expired", later.id: "done",
    }  # fmt: skip
    assert await leverage(other) == 3
